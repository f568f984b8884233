"""Which package may import which, who may import the large libraries, and how large things may grow."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MODULES = sorted(path for folder in ("components", "pipelines") for path in (ROOT / folder).rglob("*.py"))

FLOORS = (
    ("components.errors",),
    ("components.units",),
    ("components.settings", "components.definitions"),
    ("components.system",),
    ("components.checkpoints",),
    ("components.s3",),
    ("components.sources",),
    ("components.judging",),
    ("components.tracking",),
    ("components.store",),
    ("components.demo",),
    ("components.references",),
    ("components.transfer",),
    ("components.forecast",),
    ("components.evaluate",),
    ("components.finetune",),
    ("components.planning", "components.reports"),
    ("components.watch",),
    ("components.steps",),
    ("pipelines.parts",),
    (
        "pipelines.recycle",
        "pipelines.finetune_and_recycle",
        "pipelines.recycle_then_finetune",
        "pipelines.iterative",
        "pipelines.grid",
        "pipelines.watch",
    ),
    ("pipelines.local",),
    ("pipelines.backend",),
    ("pipelines.cli",),
)
"""From the bottom to the top: a module imports its own package, or one on a floor below."""

LIBRARIES = {
    "kfp": ("components.steps", "pipelines"),
    "minio": ("components.s3",),
    "mlflow": (
        "components.tracking",
        "components.references.mlflow_model",
        "components.watch",
    ),
    "huggingface_hub": (
        "components.sources",
        "components.finetune.data.hub",
        "components.finetune.open_instruct.program",
        "components.watch.hub",
        "components.tracking.card",
    ),
    "torch": (
        "components.demo",
        "components.evaluate",
        "components.finetune",
        "components.forecast.line",
        "components.system.probe_program",
    ),
    "transformers": (
        "components.demo",
        "components.evaluate",
        "components.finetune",
        "components.forecast.line",
        "components.transfer.result_check",
    ),
    "trl": ("components.finetune.trl",),
    "numba": ("components.transfer.kernel",),
}
"""Who may import a large library: a module, or all of a package."""

BEHIND_THE_FACE = {"components.steps", "pipelines.cli"}
"""A step is entered by its file, one file a box of the graph; the command line by its program."""


def name_of(path):
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def is_within(name, package):
    return name == package or name.startswith(f"{package}.")


def floor_of(name):
    """The number of a module's floor and the package there, or None for what stands under all floors."""
    for number, packages in enumerate(FLOORS):
        for package in packages:
            if is_within(name, package):
                return number, package
    return None


def imports(path):
    """Pairs of a module and a name imported from it; those for type checkers count."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((name.name, "") for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield from ((node.module, name.name) for name in node.names)


def face_of(package):
    """The public names of a package, as its stub lists them."""
    stub = ROOT.joinpath(*package.split(".")) / "__init__.pyi"
    return {alias.name for node in ast.parse(stub.read_text(encoding="utf-8")).body for alias in node.names}


def test_every_module_is_on_a_floor():
    under = {"components", "pipelines"}
    assert not [name for name in map(name_of, MODULES) if floor_of(name) is None and name not in under]


@pytest.mark.parametrize("path", MODULES, ids=name_of)
class TestModule:
    def test_it_imports_from_its_package_or_from_below(self, path):
        own = floor_of(name_of(path))
        for module, name in imports(path):
            found = floor_of(f"{module}.{name}") or floor_of(module)
            if own and found and found[1] != own[1]:
                assert found[0] < own[0], f"{module} is on the same floor or above"

    def test_it_enters_a_package_by_its_public_names(self, path):
        own = floor_of(name_of(path))
        for module, name in imports(path):
            found = floor_of(f"{module}.{name}") or floor_of(module)
            if not found or (own and found[1] == own[1]) or found[1] in BEHIND_THE_FACE:
                continue
            package = ROOT.joinpath(*found[1].split("."))
            if package.is_dir() and name:
                assert module == found[1], f"{module}.{name}: import it from {found[1]}"
                assert name in face_of(found[1])

    def test_private_names_stay_in_their_file(self, path):
        ours = [(module, name) for module, name in imports(path) if module.split(".")[0] in ("components", "pipelines")]
        assert not [name for _, name in ours if name.startswith("_") and name != "__version__"]

    def test_large_libraries_are_imported_where_they_belong(self, path):
        for module, _ in imports(path):
            allowed = LIBRARIES.get(module.split(".")[0], ("",))
            assert allowed == ("",) or any(is_within(name_of(path), place) for place in allowed), module

    def test_programs_of_other_environments_import_nothing_of_recycle(self, path):
        if path.name.endswith("program.py"):
            assert not [module for module, _ in imports(path) if module.split(".")[0] in ("components", "pipelines")]

    def test_it_is_short(self, path):
        assert len(path.read_text(encoding="utf-8").splitlines()) <= 600

    def test_pickles_and_remote_code_are_never_asked_for(self, path):
        text = path.read_text(encoding="utf-8")
        assert "trust_remote_code=True" not in text
        assert "import pickle" not in text


PACKAGES = sorted(
    path.parent for folder in ("components", "pipelines") for path in (ROOT / folder).rglob("__init__.pyi")
)


@pytest.mark.parametrize("package", PACKAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
class TestPackage:
    def test_no_public_name_is_a_module_of_the_package_too(self, package):
        """Importing the module would put it in the place of the name."""
        stub = ast.parse((package / "__init__.pyi").read_text(encoding="utf-8"))
        names = {alias.name for node in stub.body if node.module for alias in node.names}
        assert not names & {path.stem for path in package.glob("*") if path.suffix == ".py" or list(path.glob("*.py"))}

    def test_every_public_name_can_be_imported(self, package):
        name = ".".join(package.relative_to(ROOT).parts)
        for public in face_of(name):
            exec(f"from {name} import {public}", {})


STEPS = {path.stem: path for path in (ROOT / "components" / "steps").glob("*.py")}
SHARED_BY_STEPS = {"__init__", "artifacts", "component"}


def test_every_step_is_there():
    charts = {"chart_chain", "chart_grid", "chart_lengths"}
    of_several = {"resolve_bases", "list_pairs"}
    of_one = {"resolve", "save_checkpoint", "finetune", "transfer", "evaluate", "compare", "register"}
    added = {"connectivity", "choose_scale", "find_release", "record_release"}
    assert charts | of_several | of_one | added == STEPS.keys() - SHARED_BY_STEPS


@pytest.mark.parametrize("step", sorted(STEPS.keys() - SHARED_BY_STEPS))
class TestStep:
    def test_it_imports_no_other_step(self, step):
        for module, name in imports(STEPS[step]):
            if is_within(module, "components.steps"):
                entered = name if module == "components.steps" else module.split(".")[2]
                assert entered in SHARED_BY_STEPS, f"{module}.{name}"

    def test_it_is_one_thin_function(self, step):
        """A step reads artifacts, calls what does the work, and writes artifacts."""
        tree = ast.parse(STEPS[step].read_text(encoding="utf-8"))
        (function,) = (node for node in tree.body if isinstance(node, ast.FunctionDef))
        body = function.body[1:]
        assert function.name == step
        assert ast.get_docstring(function)
        assert body[-1].end_lineno - body[0].lineno + 1 <= 45
