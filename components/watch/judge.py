"""Whether a release can be recycled onto, from headers and a few megabytes, before anything is taken."""

import hashlib
from dataclasses import dataclass

from components.checkpoints import TOKENIZER_CONFIG, Layout, digest_of, read_layout
from components.errors import BadCheckpoint, Incompatible
from components.forecast import APART, forecast_by_gap, sampled_relative_gap
from components.references import open_source
from components.store import Store
from components.transfer import Scale, plan_transfer
from components.watch.identity import identify_content
from components.watch.ledger import Refusal


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What is recycled: a fine-tune, its base, and how the change is added."""

    source_base: Layout
    source_tuned: Layout
    scale: Scale
    dtype: str
    contents: tuple[str, str]
    """Digests that name the contents of the base and of the fine-tune."""

    @property
    def key(self) -> str:
        """A digest that is another one when something else is recycled."""
        # The fine-tune's chat template comes along too, which is in the one file that its content's digest leaves out.
        tuned, file = self.source_tuned, TOKENIZER_CONFIG
        template = hashlib.sha256(tuned.source.read(file)).hexdigest() if tuned.has(file) else ""
        return digest_of([*self.contents, template, str(self.scale), self.dtype])


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """What was found about one release."""

    content: str = ""
    """Digest of its content, of one that can be recycled onto."""
    refused: Refusal | None = None
    reason: str = ""


def open_subject(*, source_base: str, source_tuned: str, scale: Scale, dtype: str, store: Store) -> Subject:
    """Look at what is recycled.

    Raises:
        RecycleError: a name leads nowhere, or a checkpoint is not sound.
    """
    base, tuned = read_layout(open_source(source_base)), read_layout(open_source(source_tuned))
    contents = identify_content(base, store), identify_content(tuned, store)
    return Subject(source_base=base, source_tuned=tuned, scale=scale, dtype=dtype, contents=contents)


def judge(reference: str, subject: Subject, store: Store) -> Judgement:
    """Prove a release compatible, look whether it is related, and identify its content.

    Raises:
        RecycleError: it cannot be read now, which says nothing about it.
    """
    try:
        target = read_layout(open_source(reference))
        plan_transfer(
            source_base=subject.source_base,
            source_tuned=subject.source_tuned,
            target_base=target,
            scale=subject.scale,
            dtype=subject.dtype,
        )
        gap = sampled_relative_gap(subject.source_base, target)
        content = identify_content(target, store)
    except (BadCheckpoint, Incompatible) as error:
        return Judgement(refused="incompatible", reason=error.problem)
    if content in subject.contents:
        which = ("source base", "fine-tuned model")[subject.contents.index(content)]
        return Judgement(refused="incompatible", reason=f"it is the {which} itself")
    if gap == 0:
        return Judgement(refused="incompatible", reason="it has the weights of the source base")
    # What lies between is for the fuller look after the transfer, which knows whether the bases are connected.
    if gap >= APART:
        return Judgement(refused="unlikely", reason=forecast_by_gap(gap).reason)
    return Judgement(content=content)
