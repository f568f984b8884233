"""What a run is about: its parameters as they were set, completed by a published transfer's, or by the demo's."""

from dataclasses import dataclass, replace

from components.errors import BadParameter
from components.references import find_transfer, release_of

ROLES = ("source_base", "source_tuned", "target_base")


@dataclass(frozen=True, kw_only=True)
class Choice:
    """The three checkpoints and what is done with them; empty strings for what was not chosen."""

    source_base: str
    source_tuned: str
    """Empty where it is still to be made from the source base."""
    target_base: str
    suite: str
    recipe: str
    """How a model is fine-tuned, empty where none is."""


DEMO = Choice(
    source_base="demo:release-1",
    source_tuned="demo:release-1-instruct",
    target_base="demo:release-2",
    suite="demo",
    recipe="demo",
)


def complete(given: Choice, transfer: str, *, finetunes: bool, continues: bool = False) -> Choice:
    """Fill in what was left empty: from the named transfer, or without one from the demo.

    Args:
        given: the parameters as they were set.
        transfer: full name of a published transfer, or empty.
        finetunes: whether the pipeline makes the source fine-tuned model, so that it takes a recipe in its place.
        continues: whether the pipeline fine-tunes the recycled model further, so that it takes a recipe too.

    Raises:
        BadParameter: there is no such transfer, it is not one for this pipeline, a parameter contradicts it, or
            without it a checkpoint is missing.
    """
    needed = tuple(role for role in ROLES if not (finetunes and role == "source_tuned"))
    if transfer:
        whole = _published(transfer, given, finetunes=finetunes)
    else:
        _check_all_or_none(given, needed)
        whole = DEMO
    if continues and not (given.recipe or whole.recipe):
        raise BadParameter(
            f"the transfer {transfer} has no fine-tuning recipe of its own",
            hint="name one as recipe, such as tulu3-sft",
        )
    unused = {"source_tuned": ""} if finetunes else {} if continues else {"recipe": ""}
    return replace(whole, **{name: value for name, value in vars(given).items() if value}, **unused)


def _published(name: str, given: Choice, *, finetunes: bool) -> Choice:
    published = find_transfer(name)
    for role in ROLES:
        ours, theirs = getattr(given, role), getattr(published, role)
        if ours and theirs and release_of(ours) != theirs:
            raise BadParameter(
                f"{role} is {ours!r}, but in the transfer {name} it is {theirs}",
                hint=f"leave {role} empty, or pin it as {theirs}@ and a whole commit, or leave transfer empty and name "
                "all checkpoints yourself",
            )
    if finetunes and not published.recipe:
        raise BadParameter(
            f"the transfer {name} starts from a fine-tuned model that is published, {published.source_tuned}",
            hint="give this transfer to the pipeline recycle, which fine-tunes nothing",
        )
    if not finetunes and not (published.source_tuned or given.source_tuned):
        raise BadParameter(
            f"the fine-tuned model of the transfer {name} was not published",
            hint=f"give your fine-tune of {published.source_base} as source_tuned, or give this transfer to the "
            "pipeline finetune-and-recycle, which makes it",
        )
    return Choice(
        source_base=published.source_base,
        source_tuned=published.source_tuned,
        target_base=published.target_base,
        suite=published.suite,
        recipe=published.recipe,
    )


def _check_all_or_none(given: Choice, needed: tuple[str, ...]) -> None:
    missing = [role for role in needed if not getattr(given, role)]
    if 0 < len(missing) < len(needed):
        raise BadParameter(
            f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} not given",
            hint=f"name the checkpoints with {', '.join(needed)}, or name a transfer; with none of them the demo runs",
        )
