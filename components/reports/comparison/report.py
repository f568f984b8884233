"""The report on one recycled model and the models that it must beat."""

import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from components.forecast import Forecast, forecast_by_statistics
from components.judging import Comparison, Role, interval, percent, points
from components.reports.comparison.examples import choose_examples
from components.reports.comparison.layers import by_layer
from components.reports.comparison.models import ComparedModel
from components.reports.comparison.published import published_rows
from components.reports.plots import ROLE_SHAPES, key, layer_panel, loss_panel, score_panel
from components.reports.publish import Report
from components.reports.rendering import render
from components.system import one_line
from components.transfer import TensorStatistics, total

MEANING = {
    Role.TARGET_BASE: "new base, before recycling",
    Role.RECYCLED: "new base + Δ, no training",
    Role.SOURCE_TUNED: "fine-tune of the old base",
    Role.TARGET_TUNED: "new base, fine-tuned in full",
}


@dataclass(frozen=True, kw_only=True)
class RecycledFacts:
    """What a report tells of the recycled model besides the comparison."""

    scale: str
    """λ, as the user wrote it."""
    dtype: str
    """The dtype policy: `bfloat16` or `stored`."""
    statistics: tuple[TensorStatistics, ...] = ()
    """Of the transfer, one entry a tensor, in the checkpoint's order; none when it did not measure."""
    forecast: Forecast | None = None
    """What was expected before the evaluation; None for what the statistics say."""
    notes: tuple[str, ...] = ()
    """What planning found worth saying about the checkpoints."""
    load_path: str
    """What `from_pretrained` and vLLM take: a folder, or a hub repository."""


def report_on_comparison(
    found: Comparison, models: Sequence[ComparedModel], facts: RecycledFacts, *, title: str
) -> Report:
    """Show what a comparison found, with the forecast, the update by layer, answers side by side and the lineage."""
    forecast = facts.forecast
    if forecast is None and facts.statistics:
        forecast = forecast_by_statistics(facts.statistics, None)
    layers, everything = by_layer(facts.statistics), total("model", facts.statistics)
    notes = (*facts.notes, *_about_harnesses(models), *_about_tensors(everything, forecast))
    html = render(
        "comparison.html.j2",
        title=title,
        found=found,
        models=models,
        meaning=MEANING,
        keys={role: key(shape) for role, shape in ROLE_SHAPES.items()},
        published=published_rows(found.columns, {model.role: model.known_as for model in models}),
        facts=facts,
        forecast=forecast,
        remarks=notes,
        layers=layers,
        everything=everything,
        examples=choose_examples(models),
        score_panels=_score_panels(found),
        layer_panels=_layer_panels(layers),
        loss_panel=loss_panel(forecast.line) if forecast and forecast.line else None,
        python_code=_python_code(facts.load_path),
        shell_code=f"vllm serve {shlex.quote(one_line(facts.load_path))}",
    )
    return Report(title=title, html=html, rows=_rows(found), gate=found.gate, remarks=notes, metrics=found.metrics())


def _about_harnesses(models: Sequence[ComparedModel]) -> list[str]:
    harnesses = sorted({model.evaluation.harness for model in models})
    if len(harnesses) == 1:
        return []
    return [
        f"The models were evaluated with different programs ({', '.join(harnesses)}): differences may come from those."
    ]


def _about_tensors(everything: TensorStatistics, forecast: Forecast | None) -> list[str]:
    found = []
    if everything.nonfinite:
        found.append(f"{everything.nonfinite} elements are NaN or infinite in at least one of the three checkpoints.")
    if everything.overflowed:
        found.append(
            f"{everything.overflowed} elements of the recycled model overflowed: the scale or the dtype is wrong."
        )
    if forecast and forecast.warning:
        found.append(forecast.warning)
    return found


def _rows(found: Comparison) -> list[list[str]]:
    """Scores in %, then differences in points with their 95 % intervals."""
    empty = [""] * len(found.columns)
    rows = [["Score, %", *(column.name for column in found.columns)]]
    rows += [[role.capitalize(), *(percent(cell.value) for cell in cells)] for role, cells in found.scores.items()]
    rows += [["", *empty], ["Recycled, points", *empty]]
    rows += [
        [f"− {role}", *(f"{points(cell.value)} [{interval(cell)}]" for cell in cells)]
        for role, cells in found.differences.items()
    ]
    return rows


def _score_panels(found: Comparison) -> list[tuple[str, str, Markup]]:
    return [
        (
            column.name,
            f"{column.metric} · {column.description}" if column.metric else column.description,
            score_panel(column.name, [(role, cells[index]) for role, cells in found.scores.items()]),
        )
        for index, column in enumerate(found.columns)
    ]


def _layer_panels(layers: tuple[TensorStatistics, ...]) -> list[tuple[str, str, Markup]]:
    """Caption, formula and plot of each figure."""
    if not layers:
        return []
    update = [layer.relative_delta for layer in layers]
    gap = [layer.relative_gap for layer in layers]
    cosine = [layer.cosine for layer in layers]
    names = [layer.name for layer in layers]
    return [
        (caption, f"{formula}, by layer", layer_panel(caption, names, values, as_percent=as_percent))
        for caption, formula, values, as_percent in (
            ("Size of the update", "‖Δ‖ / ‖source base‖", update, True),
            ("Distance between the bases", "‖target base − source base‖ / ‖source base‖", gap, True),
            ("Cosine of the two", "of Δ and target base − source base", cosine, False),
        )
    ]


def _python_code(path: str) -> str:
    return (
        "from transformers import AutoModelForCausalLM, AutoTokenizer\n\n"
        f"path = {json.dumps(one_line(path), ensure_ascii=False)}\n"
        "tokenizer = AutoTokenizer.from_pretrained(path)\n"
        'model = AutoModelForCausalLM.from_pretrained(path, dtype="auto")'
    )
