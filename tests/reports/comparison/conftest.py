"""Made-up models with realistic figures."""

import random
from collections.abc import Callable

import pytest

from components.judging.comparison import compare_models
from components.judging.roles import Role
from components.reports.comparison.models import ComparedModel
from components.reports.comparison.report import RecycledFacts, report_on_comparison
from components.reports.publish import Report
from components.transfer.statistics import TensorStatistics
from tests.support.evaluations import build_evaluation


def build_models(
    shares: dict[str, float], *, tasks: int = 2, samples: int = 96, reply: str = "42", seed: int = 1
) -> tuple[ComparedModel, ...]:
    """One model a role, whose samples are right with the given probability."""
    rng = random.Random(seed)
    return tuple(
        ComparedModel(
            role=Role(role),
            evaluation=build_evaluation(
                {f"task_{t}": [float(rng.random() < share) for _ in range(samples)] for t in range(tasks)},
                name=f"demo/{role.replace(' ', '-')}",
                reply=reply,
            ),
            lineage=(
                ("digest", f"{index}a" * 32),
                ("from", f"hub demo/base@{'0123456789' * 4}"),
                ("stored at", f"file:///store/checkpoints/{index}a"),
            ),
        )
        for index, (role, share) in enumerate(shares.items())
    )


def build_statistics(layers: int, *, seed: int = 2) -> tuple[TensorStatistics, ...]:
    """Embeddings, `layers` layers of two tensors each, final norm and head."""
    rng = random.Random(seed)
    names = ["model.embed_tokens.weight"]
    for layer in range(layers):
        names += [f"model.layers.{layer}.self_attn.q_proj.weight", f"model.layers.{layer}.mlp.up_proj.weight"]
    return tuple(_tensor(name, rng) for name in [*names, "model.norm.weight", "lm_head.weight"])


def _tensor(name: str, rng: random.Random) -> TensorStatistics:
    source = 4000.0
    delta = source * (0.01 * rng.uniform(0.8, 1.3)) ** 2
    gap = source * (0.15 * rng.uniform(0.7, 1.2)) ** 2
    return TensorStatistics(
        name=name,
        elements=1_048_576,
        delta_squared=delta,
        gap_squared=gap,
        source_squared=source,
        delta_dot_gap=rng.uniform(-0.03, 0.08) * (delta * gap) ** 0.5,
        max_abs_delta=0.0123,
        unchanged=40_000,
        nonfinite=0,
    )


DEMO: dict[str, float] = {"target base": 0.0, "recycled": 0.9, "source fine-tuned": 0.06, "target fine-tuned": 0.96}


@pytest.fixture
def make_models() -> Callable[..., tuple[ComparedModel, ...]]:
    return build_models


@pytest.fixture
def make_statistics() -> Callable[..., tuple[TensorStatistics, ...]]:
    return build_statistics


@pytest.fixture
def demo_models() -> tuple[ComparedModel, ...]:
    return build_models(DEMO)


@pytest.fixture
def make_report(demo_models, make_statistics) -> Callable[..., Report]:
    """Compares models and reports on it; the arguments are those of `compare_models` and `RecycledFacts`."""

    def make(models=demo_models, title="OLMo 2: M4 onto M5", tolerance=0.02, first=None, **changes):
        found = compare_models({model.role: model.evaluation for model in models}, tolerance=tolerance, first=first)
        facts = {"statistics": make_statistics(3), "scale": "1", "dtype": "bfloat16", "load_path": "/store/recycled"}
        return report_on_comparison(found, models, RecycledFacts(**(facts | changes)), title=title)

    return make
