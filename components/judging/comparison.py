"""The recycled model held against the others: scores, paired differences and the gate's decision."""

from collections.abc import Mapping
from dataclasses import dataclass

from components.errors import BadParameter
from components.judging.columns import Cells, Column, cells, columns_of
from components.judging.evaluation import Evaluation
from components.judging.gate import DEFAULT_TOLERANCE, GateDecision, decide_gate
from components.judging.paired import difference, scores
from components.judging.roles import Role

NEEDED = (Role.TARGET_BASE, Role.RECYCLED, Role.SOURCE_TUNED)


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Everything that is known of the compared models, computed once: the report and the metrics only show it."""

    columns: tuple[Column, ...]
    """The mean first, then the tasks."""
    scores: Mapping[Role, Cells]
    """Each model's scores, in the order in which the models were given."""
    differences: Mapping[Role, Cells]
    """The recycled model minus each other model, paired question by question, in the same order."""
    gate: GateDecision

    def verdict(self) -> dict[str, float]:
        """What says at a glance how it went: 1 for passed, and the gain over the target base with its interval."""
        gain = self.differences[Role.TARGET_BASE][0]
        return {"passed": float(self.gate.passed), "gain": gain.value, "low": gain.low, "high": gain.high}

    def metrics(self) -> dict[str, float]:
        """Mean scores, and the recycled model's mean differences with their intervals: finite, in score units."""
        found = {f"score_{role.key}": row[0].value for role, row in self.scores.items()}
        for role, row in self.differences.items():
            name = f"recycled_minus_{role.key}"
            found |= {name: row[0].value, f"{name}_low": row[0].low, f"{name}_high": row[0].high}
        return found


def compare_models(
    evaluations: Mapping[Role, Evaluation],
    *,
    tolerance: float = DEFAULT_TOLERANCE,
    first: Evaluation | None = None,
    nonfinite: int = 0,
) -> Comparison:
    """Compare the recycled model with every other one, and decide whether it passes the gate.

    Args:
        evaluations: of the target base, the recycled and the source fine-tuned model and, if there is one, the target
            fine-tuned model.
        tolerance: how far below the source fine-tuned model the recycled one may score, in score units.
        first: of the model at the scale that was set, where the recycled one has another.
        nonfinite: weights of the recycled model that are NaN or infinite.

    Raises:
        BadParameter: a needed model is missing, the models did not answer the same questions, or the tolerance is
            outside [0, 1].
    """
    if not 0 <= tolerance <= 1:
        raise BadParameter(f"the tolerance is {tolerance}", hint="give a share of the score from 0 to 1, such as 0.02")
    for role in NEEDED:
        if role not in evaluations:
            raise BadParameter(
                f"no {role} model was evaluated",
                hint="evaluate the target base, the recycled and the source fine-tuned model on the same suite",
            )
    recycled = evaluations[Role.RECYCLED]
    columns = columns_of(recycled)
    differences: dict[Role, Cells] = {
        role: cells(difference(recycled, other), columns)
        for role, other in evaluations.items()
        if role is not Role.RECYCLED
    }
    return Comparison(
        columns=columns,
        scores={role: cells(scores(evaluation), columns) for role, evaluation in evaluations.items()},
        differences=differences,
        gate=decide_gate(
            against_base=differences[Role.TARGET_BASE][0],
            against_rival=differences[Role.SOURCE_TUNED][0],
            tolerance=tolerance,
            against_first=difference(recycled, first).mean if first else None,
            nonfinite=nonfinite,
        ),
    )
