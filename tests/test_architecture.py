"""Who may import whom, and how large things may grow."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
STEPS = {path.parent.name for path in ROOT.glob("components/*/component.py")}
MODULES = sorted(path for folder in ("components", "pipelines") for path in (ROOT / folder).rglob("*.py"))


def imports(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield from (f"{node.module}.{name.name}" for name in node.names)


def test_every_step_is_there():
    charts = {"chart_chain", "chart_grid", "chart_lengths"}
    of_several = {"resolve_bases", "plan_lengths", "pick_pair"}
    of_one = {"resolve", "save_checkpoint", "finetune", "transfer", "evaluate", "compare", "register"}
    added = {"connectivity", "choose_scale", "find_release", "settle"}
    assert charts | of_several | of_one | added == STEPS


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
class TestModule:
    def test_arrows_point_one_way(self, path):
        parts = path.relative_to(ROOT).parts
        own = parts[1] if parts[0] == "components" and parts[1] in STEPS else None
        for name in imports(path):
            if parts[0] == "components":
                assert not name.startswith("pipelines"), name
                step = name.split(".")[1] if name.startswith("components.") else None
                assert step not in STEPS - {own}, f"{path} imports the step {step}"

    def test_only_components_know_kfp(self, path):
        if path.relative_to(ROOT).parts[0] == "components" and path.name not in ("component.py", "image.py"):
            assert not [name for name in imports(path) if name.split(".")[0] == "kfp"]

    def test_it_is_short(self, path):
        assert len(path.read_text().splitlines()) <= 600

    def test_pickles_and_remote_code_are_never_asked_for(self, path):
        text = path.read_text()
        assert "trust_remote_code=True" not in text
        assert "import pickle" not in text


@pytest.mark.parametrize("step", sorted(STEPS))
def test_a_component_is_a_thin_wrapper(step):
    tree = ast.parse((ROOT / "components" / step / "component.py").read_text())
    (function,) = (node for node in tree.body if isinstance(node, ast.FunctionDef))
    body = function.body[1:]
    assert ast.get_docstring(function)
    assert body[-1].end_lineno - body[0].lineno + 1 <= 20
