"""What steps need on their scratch volumes."""

import pytest

from components.errors import BadParameter
from components.planning import TransferRequest, preview_transfer
from components.planning.scratch import BESIDE, check_scratch
from components.transfer import parse_scale
from tests.support.tinymodels import make_checkpoint


@pytest.fixture
def models(tmp_path):
    return {
        "source_base": str(make_checkpoint(tmp_path / "release-1", seed=0)),
        "target_base": str(make_checkpoint(tmp_path / "release-2", seed=1)),
        "scale": parse_scale("1"),
        "dtype": "auto",
    }


def test_evaluation_needs_a_model_and_training_its_states(models):
    found = preview_transfer(TransferRequest(**models))
    base = found.plan.source_base
    assert found.scratch_needed == {
        "connectivity": 2 * base.weight_bytes + BESIDE,
        "evaluate": 2 * base.weight_bytes + BESIDE,
        "finetune": base.weight_bytes + 32 * base.parameters + BESIDE,
    }
    assert "GB to evaluate" in found.facts()["scratch"]


def test_nothing_is_trained_where_the_fine_tuned_model_is_there(models, tmp_path):
    tuned = str(make_checkpoint(tmp_path / "tuned", seed=2))
    assert set(preview_transfer(TransferRequest(source_tuned=tuned, **models)).scratch_needed) == {
        "connectivity",
        "evaluate",
    }


def test_a_volume_that_is_too_small_is_refused_with_the_setting_to_give(monkeypatch):
    monkeypatch.setenv("RECYCLE_SCRATCH_EVALUATE", "5Gi")
    check_scratch({"evaluate": 5 * 2**30, "finetune": 10**15})  # of the latter nothing is known
    with pytest.raises(BadParameter, match=r"evaluate needs about [\s\S]*--set evaluate\.scratch=33Gi"):
        check_scratch({"evaluate": 32 * 2**30 + 1})
