"""What every step does around its work: says that it starts and how it ends, in its log and in MLflow."""

import json
import logging
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from components import settings
from components.errors import RecycleError
from components.system import limit_libraries, source_digest
from components.tracking.runs import Tracker, track

logger = logging.getLogger(__name__)

EVENT_MARK = "recycle-event "
"""Starts a log line that programs read; the rest of it is one JSON object."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """A step that is running."""

    tracker: Tracker
    outcome: dict[str, Any] = field(default_factory=dict)
    """What `recycle run` shows of the step."""


@contextmanager
def step(name: str) -> Iterator[Step]:
    """Run the body as the step called `name`; its errors are logged, and noted in MLflow, before they are raised."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S", stream=sys.stdout)
    for client in ("httpx", "httpx2"):  # they log whole addresses, signed ones too
        logging.getLogger(client).setLevel(logging.WARNING)
    # Kubernetes stops a pod with SIGTERM, which would end Python without a word to MLflow.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    limit_libraries()
    _emit(name, "started")
    advice = _other_source()
    if advice:
        logger.warning("%s", advice)
    started = time.monotonic()
    try:
        with track(name) as tracker:
            running = Step(tracker=tracker)
            yield running
    except RecycleError as error:
        _emit(name, "failed", problem=error.problem, do="; ".join(filter(None, (error.hint, advice))))
        raise
    except (KeyboardInterrupt, SystemExit):
        _emit(name, "interrupted")
        raise
    except BaseException as error:
        _emit(name, "failed", problem=f"{type(error).__name__}: {error}", do=advice or "see the traceback in the log")
        raise
    if advice:
        running.outcome["notes"] = [*running.outcome.get("notes", ()), advice]
    _emit(name, "ended", seconds=round(time.monotonic() - started, 2), outcome=running.outcome)


def _other_source() -> str:
    """What to do where the pipeline was compiled from other source than this image was built from; else empty."""
    compiled_from, own = settings.pipeline_source(), source_digest()
    if not compiled_from or compiled_from == own:
        return ""
    return (
        f"the pipeline was compiled from other source ({compiled_from}) than the image was built from ({own}): build "
        "the images again where the pipeline is newer, or upload the pipeline again where the image is"
    )


def _emit(step: str, event: str, **more: object) -> None:
    sys.stdout.write(f"\n{EVENT_MARK}{json.dumps({'step': step, 'event': event, **more})}\n")
    sys.stdout.flush()
