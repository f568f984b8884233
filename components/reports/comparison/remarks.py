"""What a reader should know before trusting the figures."""

from components.reports.comparison.inputs import ReportInput
from components.transfer import TensorStatistics, total


def whole_model(report: ReportInput) -> TensorStatistics:
    """All tensors added up."""
    return total("model", report.statistics)


def remarks(report: ReportInput) -> tuple[str, ...]:
    """The notes of planning, and what the figures themselves give reason to say."""
    return (*report.notes, *_about_harness(report), *_about_tensors(report))


def _about_harness(report: ReportInput) -> list[str]:
    harnesses = sorted({model.evaluation.harness for model in report.models})
    if len(harnesses) == 1:
        return []
    return [
        f"The models were evaluated with different programs ({', '.join(harnesses)}): differences may come from those."
    ]


def _about_tensors(report: ReportInput) -> list[str]:
    if not report.statistics:
        return []
    model = whole_model(report)
    found = []
    if model.nonfinite:
        found.append(f"{model.nonfinite} elements are NaN or infinite in at least one of the three checkpoints.")
    if model.overflowed:
        found.append(f"{model.overflowed} elements of the recycled model overflowed: the scale or the dtype is wrong.")
    if report.forecast and report.forecast.warning:
        found.append(report.forecast.warning)
    return found
