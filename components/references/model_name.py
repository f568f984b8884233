"""The registered model that a run's result belongs to where none is named."""

import re

from components.references.family import release_of
from components.references.open import DEMO_PREFIX

DEMO_MODEL = "recycle-demo"


def default_model_name(tuned: str, ending: str = "") -> str:
    """A name in MLflow's registry for what comes of a fine-tune: the demo's own, or one made from the reference.

    A known release has one name, however it is spelled. Two other fine-tunes share a name only where the last two parts
    of their references are the same.

    Args:
        tuned: reference of the fine-tuned model, or of what it is made from.
        ending: tells what is made of it in another way.
    """
    if tuned.startswith(DEMO_PREFIX):
        return f"{DEMO_MODEL}{ending}"
    path = (release_of(tuned) or tuned).partition("@")[0].rstrip("/").removesuffix("/checkpoint.json")
    parts = [re.sub(r"[^A-Za-z0-9_.-]+", "-", part).strip("-") for part in path.split("/")]
    name = "-".join([part for part in parts if part][-2:])[-150:].lstrip(".-")
    return f"{name or 'model'}-recycled{ending}"
