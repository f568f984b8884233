"""`demo:NAME` as a checkpoint reference: a release of the demo world, made when it is first asked for."""

import logging
import re
from dataclasses import dataclass

from components import settings
from components.errors import BadReference
from components.folder import FolderSource
from components.work import claimed

PREFIX = "demo:"

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class DemoSource(FolderSource):
    """A demo release; its name, not its folder, is its reference: any machine makes the same bytes from it."""

    @property
    def reference(self) -> str:
        """`demo:NAME`."""
        return f"{PREFIX}{self.path.name}"

    @property
    def origin(self) -> dict[str, str]:
        """The release's name."""
        return {"kind": "demo", "release": self.path.name}


def demo_source(name: str) -> DemoSource:
    """Open a demo release.

    Raises:
        BadReference: that is no name.
        BadParameter: the demo has no release of this name.
    """
    if not re.fullmatch(r"[a-z0-9-]+", name):
        raise BadReference(f"{name!r} is no name of a demo release", do="use a name such as demo:release-1")
    folder = settings.home() / "demo"
    release = folder / name
    if not release.is_dir():
        from components.demo.releases import build

        with claimed(release, wait=True):
            build(name, folder, progress=logger.info)
    return DemoSource(path=release)
