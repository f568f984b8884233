"""Checkpoints of the Hugging Face Hub, read by HTTP ranges at one pinned commit."""

import re
from dataclasses import dataclass, field

from components.checkpoints import SourceFile
from components.errors import BadReference
from components.sources.hub_api import license_of, model_info, pickles_of, read_range, source_files
from components.sources.hub_errors import not_a_hub
from components.sources.hub_repo import RepoRevision

_COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True, kw_only=True)
class HubSource:
    """A model repository of the hub at one commit."""

    repo: str
    revision: str
    """As asked for: a branch, a tag or a commit."""
    commit: str
    endpoint: str = field(repr=False)
    license: str | None
    listing: tuple[SourceFile, ...] = field(repr=False)
    pickled: tuple[str, ...] = field(repr=False)
    release: str = ""
    """Its full name where it is a release of a family, for example `olmo2-7b:M3`."""

    @classmethod
    def open(cls, reference: str) -> "HubSource":
        """Resolve `repo@revision` (without `@`: `main`) to a commit, which every later request names.

        The hub is the one of `HF_ENDPOINT`, the token that of `HF_TOKEN` or of `hf auth login`.

        Raises:
            BadReference: the name is malformed, or there is no such repository or revision, or it may not be read.
            BadParameter: `HF_ENDPOINT` or `HF_TOKEN` cannot be one.
            BadCheckpoint: the repository lists files under names that are not plain.
            ServiceUnavailable: the hub does not answer, or not as the hub does.
        """
        at = RepoRevision.parse(reference)
        info = model_info(at)
        if not _COMMIT.fullmatch(info.sha or "") or (_COMMIT.fullmatch(at.revision) and info.sha != at.revision):
            raise not_a_hub(at, f"no commit for {at.revision} but {info.sha!r}")
        return cls(
            repo=at.repo,
            revision=at.revision,
            commit=str(info.sha),
            endpoint=at.endpoint,
            license=license_of(info),
            listing=source_files(at, info),
            pickled=pickles_of(info),
        )

    @property
    def reference(self) -> str:
        """The release or else the repository, pinned to its commit."""
        return f"{self.release or self.repo}@{self.commit}"

    @property
    def uri(self) -> str:
        """The repository pinned to its commit, told from a path."""
        return f"hf://{self.repo}@{self.commit}"

    @property
    def manifest(self) -> None:
        """Nothing: the hub has models of others."""

    @property
    def name(self) -> str:
        """The repository's own name, and the revision where it is not `main`."""
        revision = self.commit[:8] if self.revision == self.commit else self.revision
        return self.repo.rsplit("/", 1)[-1] + ("" if revision == "main" else f"@{revision}")

    @property
    def origin(self) -> dict[str, str]:
        """Repository, revision asked for, commit, and where known the license its card names and the release it is."""
        origin = {"kind": "hub", "repo": self.repo, "revision": self.revision, "commit": self.commit}
        more = {"license": self.license, "release": self.release}
        return origin | {key: value for key, value in more.items() if value}

    def files(self) -> tuple[SourceFile, ...]:
        """Every allowed file at the top of the repository, sorted by path."""
        return self.listing

    def pickles(self) -> tuple[str, ...]:
        """Names of pickled weights at the top of the repository."""
        return self.pickled

    def read(self, path: str, start: int = 0, length: int | None = None) -> bytes:
        """`length` bytes of a file from `start`, or up to its end; fewer where the file ends before.

        Raises:
            BadReference: the file does not belong to the checkpoint, or may not be read.
            ServiceUnavailable: the hub does not give these bytes, and no others, after some tries.
        """
        size = self._size(path)
        end = size if length is None else min(size, start + length)
        content = bytearray(max(0, end - start))
        if content:
            self.read_into(path, start, memoryview(content))
        return bytes(content)

    def read_into(self, path: str, start: int, buffer: memoryview) -> None:
        """Fill `buffer` with a file's bytes from `start`.

        Raises:
            BadReference: the file may not be read, or is gone.
            ServiceUnavailable: the hub does not give these bytes, and no others, after some tries.
        """
        at = RepoRevision(endpoint=self.endpoint, repo=self.repo, revision=self.commit)
        read_range(at, path, start, buffer, self._size(path))

    def _size(self, path: str) -> int:
        size = next((file.size for file in self.listing if file.path == path), None)
        if size is None:
            raise BadReference(f"{self.reference} has no file {path!r}", hint="check the name")
        return size
