"""Datasets of the Hugging Face Hub: the JSONL and Parquet files of their training split at one commit."""

import fnmatch
import hashlib
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components import __version__, settings
from components.checkpoints import is_plain
from components.errors import BadReference, DigestMismatch, RecycleError, ServiceUnavailable
from components.system import disk_errors, exclusive_lock, sha256_file

if TYPE_CHECKING:
    from huggingface_hub import DatasetInfo, HfApi
    from huggingface_hub.hf_api import RepoSibling

SPLIT = "train"
SUFFIXES = (".jsonl", ".parquet")
CHECKED = ".checked"
"""Suffix of an empty file which says that the bytes of the file beside it are those of the commit."""

_COMMIT = re.compile(r"[0-9a-f]{40}")


def pin(reference: str) -> str:
    """`owner/name@commit` for `owner/name@revision`; without a revision, of `main`.

    Raises:
        BadReference: there is no such dataset or revision, or it may not be read.
        ServiceUnavailable: the hub does not answer.
    """
    repo, _, revision = reference.partition("@")
    if _COMMIT.fullmatch(revision):
        return reference
    return f"{repo}@{_info(repo, revision or 'main').sha}"


def download(reference: str) -> tuple[Path, ...]:
    """Copy the files of `owner/name@revision` below RECYCLE_HOME, where they are not there already.

    Returns:
        The files of the split `train`, in the order of their names.

    Raises:
        BadReference: there is no such dataset or revision, it has no JSONL or Parquet files for training, or one of
            them is to lie elsewhere.
        DigestMismatch: a file is not what the hub says it is.
        ServiceUnavailable: the hub does not answer.
        StorageFull: the disk is full.
    """
    repo, _, commit = pin(reference).partition("@")
    folder = settings.home() / "datasets" / repo.replace("/", "--") / commit
    with disk_errors(folder), exclusive_lock(folder, wait=True):
        listing = folder / "files.txt"
        if listing.is_file():
            return tuple(folder / name for name in listing.read_text(encoding="utf-8").splitlines())
        folder.mkdir(parents=True, exist_ok=True)
        info = _info(repo, commit)
        siblings = _training_files(repo, info)
        paths = tuple(_fetch(repo, commit, sibling, folder) for sibling in siblings)
        listing.write_text("".join(f"{sibling.rfilename}\n" for sibling in siblings), encoding="utf-8")
        return paths


def _info(repo: str, revision: str) -> "DatasetInfo":
    with _hub_errors(f"{repo}@{revision}"):
        return _api().dataset_info(repo, revision=revision, files_metadata=True, timeout=30)


def _api() -> "HfApi":
    from huggingface_hub import HfApi

    # The client reads HF_ENDPOINT when it is imported.
    endpoint = os.environ.get("HF_ENDPOINT") or None
    return HfApi(endpoint=endpoint, library_name="recycle", library_version=__version__)


def _training_files(repo: str, info: "DatasetInfo") -> list["RepoSibling"]:
    found = {sibling.rfilename: sibling for sibling in info.siblings or () if sibling.rfilename.endswith(SUFFIXES)}
    is_chosen = _chooser(info.card_data)
    chosen = sorted(name for name in found if is_chosen(name))
    if not chosen:
        raise BadReference(
            f"the dataset {repo} has no JSONL or Parquet files of a split {SPLIT!r}",
            hint="choose a file, download it and give its path; it has "
            f"{', '.join(sorted(found)[:5]) or 'none to give'}",
        )
    hostile = next((name for name in chosen if not is_plain(name)), None)
    if hostile is not None:
        raise BadReference(
            f"the dataset {repo} names the file {hostile!r}, which is not a plain relative path",
            hint="do not use this dataset",
        )
    return [found[name] for name in chosen]


def _chooser(card: Any) -> Callable[[str], bool]:  # noqa: ANN401 - the YAML of a dataset's card
    """A test for the names of the split's files: those that the card lists, or else those named like the split."""
    patterns = [pattern for entry in _data_files(card) if entry.get("split") == SPLIT for pattern in _paths(entry)]
    if patterns:
        return lambda name: any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)
    return lambda name: re.search(rf"(^|[/_.-]){SPLIT}([/_.-]|$)", name) is not None


def _data_files(card: Any) -> list[dict[str, Any]]:  # noqa: ANN401
    """The entries of a card on the files of its configuration `default`, or of its first one."""
    configs = (card or {}).get("configs") or [{}]
    chosen = next((config for config in configs if config.get("config_name") == "default"), configs[0])
    files = chosen.get("data_files")
    return [entry for entry in files if isinstance(entry, dict)] if isinstance(files, list) else []


def _paths(entry: dict[str, Any]) -> list[str]:
    return entry["path"] if isinstance(entry["path"], list) else [entry["path"]]


def _fetch(repo: str, commit: str, sibling: "RepoSibling", folder: Path) -> Path:
    path = folder / sibling.rfilename
    mark = path.with_name(f"{path.name}{CHECKED}")
    if mark.is_file():
        return path
    with _hub_errors(f"{repo}@{commit}"):
        _api().hf_hub_download(repo, sibling.rfilename, repo_type="dataset", revision=commit, local_dir=folder)
    if not _is(path, sibling):
        path.unlink()
        raise DigestMismatch(
            f"{sibling.rfilename} of {repo}@{commit} is not what the hub's listing says", hint="run it again"
        )
    mark.touch()
    return path


def _is(path: Path, sibling: "RepoSibling") -> bool:
    """Whether a file has the digest that the hub lists: sha256 in LFS, and git's own elsewhere."""
    if path.is_symlink() or not path.is_file():
        return False
    if sibling.lfs is not None:
        return path.stat().st_size == sibling.lfs.size and sha256_file(path) == sibling.lfs.sha256
    return _git_blob(path) == sibling.blob_id


def _git_blob(path: Path) -> str:
    header = f"blob {path.stat().st_size}\0".encode()
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.sha1(header, usedforsecurity=False)).hexdigest()


@contextmanager
def _hub_errors(dataset: str) -> Iterator[None]:
    """Turn what the hub's client raises into an error a user can act on."""
    from huggingface_hub import errors

    # The base of every error of the HTTP client that this huggingface_hub uses.
    http_error: type[Exception] = errors.HfHubHTTPError.__bases__[0]
    try:
        yield
    except errors.HFValidationError:
        raise BadReference(f"{dataset!r} cannot be a dataset of the hub", hint="give hub:owner/name@revision") from None
    except (http_error, errors.LocalEntryNotFoundError, errors.OfflineModeIsEnabled) as error:
        if isinstance(error, errors.HfHubHTTPError) and error.response.status_code in (401, 403, 404):
            raise _refused(dataset, error) from None
        raise ServiceUnavailable(
            f"the hub does not give the dataset {dataset} ({type(error).__name__})",
            hint="check the network, HF_ENDPOINT and HF_HUB_OFFLINE, then run it again: what was copied is kept",
        ) from None


def _refused(dataset: str, error: Exception) -> RecycleError:
    from huggingface_hub import errors

    if isinstance(error, errors.RevisionNotFoundError):
        return BadReference(f"there is no dataset {dataset}: no such revision", hint="check what follows the @")
    if isinstance(error, errors.GatedRepoError):
        hint = "accept its conditions on its page, and set HF_TOKEN to a token of that account"
        return BadReference(f"the dataset {dataset} is gated", hint=hint)
    return BadReference(
        f"the hub has no dataset {dataset}, or it is private",
        hint="check the name, or set HF_TOKEN to a token that may",
    )
