"""Every error a user can meet.

RecycleError
├── BadParameter        a value the user gave is not one the command or step takes
├── BadReference        a checkpoint was named that cannot be found or read
├── BadCheckpoint       a checkpoint's files are not what a checkpoint's files must be
│   └── DigestMismatch  bytes differ from the digest recorded for them
├── Incompatible        the checkpoints are sound, but not of one family
├── OutputConflict      the output holds something else, or another process is writing there
├── StorageFull         a disk or a bucket is full
├── ServiceUnavailable  MLflow, the hub or the store does not answer, or answers with an error
└── ProgramFailed       a program that a step started ended with an error
"""

from itertools import islice
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import ValidationError


class RecycleError(Exception):
    """Something the user can act on: what was wrong, with the values, and what to do next."""

    def __init__(self, problem: str, *, hint: str) -> None:
        super().__init__(f"{problem}\n  What to do: {hint}")
        self.problem = problem
        self.hint = hint

    def __reduce__(self) -> tuple[object, ...]:
        # The default would call the class with one positional argument, and fail on the missing keyword.
        return _rebuild, (type(self), self.problem, self.hint)


def describe_validation(error: "ValidationError", most: int = 5) -> str:
    """Tell in one line which fields of a document are wrong, and why: `settings.seed: Input should be …; tasks: …`."""
    problems = (f"{'.'.join(map(str, problem['loc'])) or 'it'}: {problem['msg']}" for problem in error.errors())
    return "; ".join(islice(problems, most))


def _rebuild(kind: type[RecycleError], problem: str, hint: str) -> RecycleError:
    return kind(problem, hint=hint)


class BadParameter(RecycleError):
    """A value the user gave is not one the command or step takes."""


class BadReference(RecycleError):
    """A checkpoint was named that cannot be found or read."""


class BadCheckpoint(RecycleError):
    """A checkpoint's files are not what a checkpoint's files must be."""


class DigestMismatch(BadCheckpoint):
    """Bytes differ from the digest recorded for them."""


class Incompatible(RecycleError):
    """The checkpoints are sound, but not of one family."""


class OutputConflict(RecycleError):
    """The output holds something else, or another process is writing there."""


class StorageFull(RecycleError):
    """A disk or a bucket is full."""


class ServiceUnavailable(RecycleError):
    """MLflow, the hub or the store does not answer, or answers with an error."""


class ProgramFailed(RecycleError):
    """A program that a step started ended with an error."""
