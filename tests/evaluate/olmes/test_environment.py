import pytest

from components.errors import BadParameter, ProgramFailed
from components.evaluate.harness import check_harness, find_harness
from components.evaluate.olmes import environment as olmes_environment
from components.evaluate.olmes.environment import OLMES, Olmes, find_olmes
from components.evaluate.suite import load_suite


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A folder that looks like a checkout with an environment, whose Python is none."""
    folder = tmp_path / "olmes"
    (folder / "oe_eval").mkdir(parents=True)
    (folder / "oe_eval" / "launch.py").write_text("launch")
    (folder / ".venv" / "bin").mkdir(parents=True)
    (folder / ".venv" / "bin" / "python").write_text("#!/bin/sh\necho no torch here\nexit 3\n")
    (folder / ".venv" / "bin" / "python").chmod(0o755)
    monkeypatch.setenv("RECYCLE_OLMES", str(folder))
    return folder


def test_it_has_to_be_named():
    with pytest.raises(BadParameter, match=r"RECYCLE_OLMES is not set[\s\S]*github.com/allenai/olmes"):
        find_harness(load_suite("olmes-instruct"))


def test_another_folder_is_no_checkout(tmp_path, monkeypatch):
    monkeypatch.setenv("RECYCLE_OLMES", str(tmp_path))
    with pytest.raises(BadParameter, match=r"has no oe_eval/launch\.py"):
        OLMES.folder()


def test_its_python_is_in_the_checkout_or_named(checkout, tmp_path, monkeypatch):
    assert OLMES.python() == checkout / ".venv" / "bin" / "python"
    monkeypatch.setenv("RECYCLE_OLMES_PYTHON", str(tmp_path / "python"))
    with pytest.raises(BadParameter, match=r"would be .*python[\s\S]*RECYCLE_OLMES_PYTHON"):
        OLMES.python()


def test_a_python_without_one_called_python_beside_it(checkout, monkeypatch):
    alone = checkout / "python3.11"
    alone.write_text("")
    alone.chmod(0o755)
    monkeypatch.setenv("RECYCLE_OLMES_PYTHON", str(alone))
    with pytest.raises(BadParameter, match=r"would be .*/python, which is no program"):
        OLMES.python()


def test_an_environment_that_lacks_something_says_so(checkout):
    with pytest.raises(ProgramFailed, match="no torch here"):
        find_olmes()


def test_an_edited_source_is_another_identity(checkout):
    before = olmes_environment._source(checkout)
    assert olmes_environment._source(checkout) == before
    (checkout / "oe_eval" / "launch.py").write_text("edited")
    assert olmes_environment._source(checkout) != before


def olmes(**changes):
    fields = {
        "checkout": "/olmes",
        "python": "/olmes/.venv/bin/python",
        "commit": "5fe45c5",
        "source": "0" * 64,
        "versions": {"torch": "2.8.0", "transformers": "4.57.6", "vllm": "0.11.0"},
        "gpus": 2,
        "packages": "/olmes/packages",
    }
    return Olmes.model_validate(fields | changes)


def test_vllm_where_it_has_gpus():
    assert (olmes().vllm, olmes().name) == (True, "OLMES 5fe45c5, vllm 0.11.0")
    assert (olmes(gpus=0).vllm, olmes(gpus=0).name) == (False, "OLMES 5fe45c5, transformers 4.57.6")
    without = olmes(versions={"transformers": "4.57.6"}, commit="")
    assert (without.vllm, without.name) == (False, "OLMES 00000000, transformers 4.57.6")


def test_what_runs_the_model_and_the_versions_are_its_identity():
    assert len({tuple(found.identity) for found in (olmes(), olmes(gpus=0), olmes(source="1" * 64))}) == 3
    assert olmes().identity == olmes(gpus=4, commit="").identity


@pytest.mark.parametrize(("visible", "gpus", "refused"), [("3", 1, True), ("0", 1, False), ("2,3", 2, False)])
def test_one_gpu_that_is_not_the_first_would_not_be_used(monkeypatch, visible, gpus, refused):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    if refused:
        with pytest.raises(BadParameter, match="takes the first GPU"):
            olmes_environment._check_gpu(olmes(gpus=gpus))
    else:
        olmes_environment._check_gpu(olmes(gpus=gpus))


def test_a_run_is_refused_before_it_starts_where_the_harness_is_missing(checkout, monkeypatch):
    check_harness(load_suite("demo"))
    check_harness(load_suite("olmes-base"))
    monkeypatch.delenv("RECYCLE_OLMES")
    with pytest.raises(BadParameter, match="RECYCLE_OLMES is not set"):
        check_harness(load_suite("olmes-base"))
