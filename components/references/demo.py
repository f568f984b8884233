"""`demo:NAME` as a checkpoint reference: a release of the demo world, made when it is first asked for."""

import logging
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from components import __version__, settings
from components.checkpoints import MANIFEST, Checkpoint, digest_of, identify, read_layout
from components.demo import RELEASES
from components.errors import BadParameter, BadReference
from components.sources import FolderSource
from components.store import Store, open_store
from components.system import exclusive_lock

PREFIX = "demo:"

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class DemoSource(FolderSource):
    """A demo release; its name, not its folder, is its reference, since any machine makes it anew."""

    @property
    def reference(self) -> str:
        """`demo:NAME`."""
        return f"{PREFIX}{self.path.name}"

    @property
    def origin(self) -> dict[str, str]:
        """The release's name."""
        return {"kind": "demo", "release": self.path.name}


def check_demo_name(reference: str) -> None:
    """Refuse a demo release that there is not.

    Raises:
        BadParameter: the demo has no release of this name.
    """
    name = reference.removeprefix(PREFIX)
    if reference.startswith(PREFIX) and name not in RELEASES:
        raise BadParameter(f"the demo has no release {name!r}", hint=f"choose from {', '.join(RELEASES)}")


def demo_source(name: str) -> DemoSource:
    """Open a demo release.

    Raises:
        BadReference: that is no name.
        BadParameter: the demo has no release of this name.
    """
    if not re.fullmatch(r"[a-z0-9-]+", name):
        raise BadReference(f"{name!r} is no name of a demo release", hint="use a name such as demo:release-1")
    folder = settings.home() / "demo"
    release = folder / name
    if not release.is_dir():
        from components.demo import build

        def make() -> None:
            build(name, folder, progress=logger.info)

        with exclusive_lock(release, wait=True):
            store = open_store()
            if store.uri.startswith("s3://"):
                _through(store, release, make)
            else:
                make()
    return DemoSource(path=release)


def _through(store: Store, release: Path, make: Callable[[], None]) -> None:
    """Get a release from a store that other machines see too, where one of them made it; else make and share it."""
    key = digest_of(["demo", __version__, release.name])

    def share(work: Path) -> Checkpoint:
        make()
        output = work / release.name
        shutil.copytree(release, output, dirs_exist_ok=True)
        return identify(read_layout(FolderSource(path=output)))

    made = store.get_or_create_checkpoint("demo", key, share)
    if not release.is_dir():
        release.parent.mkdir(parents=True, exist_ok=True)
        with store.local(made) as copy, TemporaryDirectory(dir=release.parent, prefix=f".{release.name}-") as scratch:
            whole = shutil.copytree(copy, Path(scratch) / release.name, ignore=shutil.ignore_patterns(MANIFEST))
            whole.rename(release)
