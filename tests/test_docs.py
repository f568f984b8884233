"""That the documentation holds: its links, sizes, commands, variables, and the parts that follow from the code."""

import ast
import importlib.util
import inspect
import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from components.evaluate import load_suite
from components.finetune import check_dataset, load_recipe
from components.settings import VARIABLES
from docs.generate import PAGES, PART, leaves, written
from pipelines.cli.main import main
from pipelines.parts import load_resources
from tests.support.tinymodels import make_checkpoint

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
LINK = re.compile(r"!?\[[^\]]*\]\((?P<target>[^)\s]+)\)")
FENCE = re.compile(r"^ *```.*?^ *```", re.MULTILINE | re.DOTALL)
VARIABLE = re.compile(r"\b(?:RECYCLE|AWS|MLFLOW|HF|KF|KFP|MINIO|NLTK|CUDA|OMP)_[A-Z0-9_]*[A-Z0-9]\b")
READ_BY_OTHERS = {"NLTK_DATA"}
CODE = re.compile(r"`[^`\n]+`")


def without_code(text):
    return CODE.sub("", FENCE.sub("", text))


def anchors(text):
    """What GitHub makes of a page's headings."""
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
class TestPage:
    def test_its_generated_parts_are_what_the_code_says(self, page):
        text = page.read_text(encoding="utf-8")
        assert written(text) == text, "run `make docs`"

    def test_every_generated_part_is_closed(self, page):
        text = page.read_text(encoding="utf-8")
        assert text.count("<!-- generated: ") == len(PART.findall(text)) == text.count("<!-- end -->")

    def test_its_links_lead_somewhere(self, page):
        for found in LINK.finditer(without_code(page.read_text(encoding="utf-8"))):
            target, _, anchor = found["target"].partition("#")
            if "://" in target:
                continue
            file = (page.parent / target).resolve() if target else page
            assert file.exists(), found[0]
            assert not anchor or anchor in anchors(file.read_text(encoding="utf-8")), found[0]

    def test_every_variable_exists(self, page):
        known = {variable.name for variable in VARIABLES} | READ_BY_OTHERS
        found = set(VARIABLE.findall(page.read_text(encoding="utf-8")))
        assert found <= known

    def test_every_command_exists(self, page):
        groups, commands = command_words()
        for line in re.findall(r"(?:^|`|\$ |/)recycle ([a-z][^`\n]*)", page.read_text(encoding="utf-8"), re.MULTILINE):
            first, second, *_ = (*line.split(), "", "")
            assert first in commands or first in groups, f"recycle {line}"
            if first in groups and re.fullmatch(r"[a-z]+", second) and first == "store":
                assert second in groups[first], f"recycle {line}"

    def test_every_option_exists(self, page):
        known = {option for _, command in leaves(main, "recycle") for one in command.params for option in options(one)}
        for line in re.findall(r"(?:^|`|\$ |/)recycle [a-z][^`\n#]*", page.read_text(encoding="utf-8"), re.MULTILINE):
            for option in re.findall(r"(?<!\S)--[a-z][a-z-]+", line):
                assert option in known | {"--help", "--version"}, line

    def test_every_file_that_it_names_exists(self, page):
        for name in re.findall(r"`((?:components|pipelines|tests|images|manifests|docs)/[\w./-]+)`", page.read_text()):
            assert (ROOT / name).exists(), name


def test_every_function_of_the_ways_is_where_the_page_says():
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    named = re.findall(r"((?:`\w+`(?:, | and )?)+) in\s+`((?:components|pipelines)/[\w/]+\.py)`", text)
    assert len(named) > 20
    for names, file in named:
        for name in re.findall(r"`(\w+)`", names):
            assert re.search(rf"\b(?:def|class) {name}\b", (ROOT / file).read_text(encoding="utf-8")), (name, file)


def command_words():
    groups, commands = {}, set()
    for path, _ in leaves(main, "recycle"):
        _, *words = path.split()
        if len(words) == 1:
            commands.add(words[0])
        else:
            groups.setdefault(words[0], set()).add(words[1])
    return groups, commands


def options(parameter):
    return (*parameter.opts, *parameter.secondary_opts)


class TestReadme:
    def test_it_is_short(self):
        assert len(README.read_bytes()) <= 10_000
        assert len(README.read_text(encoding="utf-8").splitlines()) <= 130

    def test_it_names_every_page(self):
        text = README.read_text(encoding="utf-8")
        assert not [page.name for page in PAGES[1:] if f"docs/{page.name}" not in text]

    def test_it_says_how_to_run_the_main_job_and_the_tests(self):
        text = README.read_text(encoding="utf-8")
        assert re.search(r"^make demo\b", text, re.MULTILINE)
        assert re.search(r"^make (check )?test\b", text, re.MULTILINE)
        assert "make check test" in (ROOT / ".ci" / "run").read_text()

    def test_its_picture_is_small(self):
        assert (ROOT / "docs" / "images" / "report.png").stat().st_size <= 200_000


class TestJson:
    """The keys that commands print are the ones that docs/json.md lists."""

    @pytest.fixture
    def world(self, tmp_path):
        for seed, name in enumerate(("base", "tuned", "target")):
            make_checkpoint(tmp_path / name, seed=seed)
        return tmp_path

    def listed(self, command):
        text = (ROOT / "docs" / "json.md").read_text(encoding="utf-8")
        row = re.search(rf"^\| `{command}` \| (.*) \|$", text, re.MULTILINE)
        return set(re.findall(r"`([a-z_ ]+)`", row[1]))

    def printed(self, *arguments):
        result = CliRunner().invoke(main, [*map(str, arguments), "--json"], catch_exceptions=False)
        return json.loads(result.stdout)

    def test_transfer_and_verify(self, world):
        three = [world / name for name in ("base", "tuned", "target")]
        assert self.printed("transfer", *three, world / "out").keys() == self.listed("transfer")
        assert self.printed("verify", world / "out").keys() == self.listed("verify") - {"false"}

    def test_plan(self, world):
        found = self.printed("plan", *[world / name for name in ("base", "tuned", "target")])
        assert "compatible" in found
        assert "will it transfer" in found

    def test_an_error(self, world):
        found = self.printed("plan", world / "base", world / "tuned", world / "base")
        text = (ROOT / "docs" / "json.md").read_text(encoding="utf-8")
        assert all(f'"{key}"' in text for key in found)

    @pytest.mark.parametrize("command", ["store ls", "store gc"])
    def test_the_store(self, command):
        assert self.printed(*command.split()).keys() <= self.listed(command)

    def test_families(self):
        for family in self.printed("families").values():
            assert family.keys() == self.listed("families")


@pytest.mark.parametrize("page", [README, ROOT / "docs" / "getting-started.md"], ids=lambda page: page.name)
def test_commands_print_what_the_walk_shows(page, tmp_path):
    """The labels and sentences; the figures are of other models."""
    for seed, name in enumerate(("base-1.0", "people-1.0", "base-1.1")):
        make_checkpoint(tmp_path / name, seed=seed)
    shown = page.read_text(encoding="utf-8").partition("$ recycle plan")[2].partition("$ recycle run")[0]
    shown = re.sub(r"^```.*?^```console$", "", shown, flags=re.MULTILINE | re.DOTALL)
    printed = ""
    for command in (("plan", 3), ("transfer", 4), ("verify", -1)):
        places = [tmp_path / name for name in ("base-1.0", "people-1.0", "base-1.1", "people-1.1")]
        chosen = places[: command[1]] if command[1] > 0 else places[-1:]
        result = CliRunner().invoke(main, [command[0], *map(str, chosen)], catch_exceptions=False)
        assert result.exit_code == 0
        printed += result.output
    labels = {label(line) for line in printed.splitlines()}
    lines = [line for line in shown.splitlines()[1:] if line.strip() and not line.startswith(("$", "`"))]
    assert not [line for line in lines if label(line) not in labels]


def label(line):
    """A line without its figures: the words before two spaces, or all of it without paths and digests."""
    if line.startswith("  "):
        return re.split(r" {2,}", line.strip())[0]
    return re.sub(r"\S*(?:/|\d)\S*", "", line).replace("people-1.1", "").strip()


class TestExamples:
    """What the pages show as files is what the program takes."""

    def blocks(self, page, language):
        text = (ROOT / "docs" / page).read_text(encoding="utf-8")
        return [
            inspect.cleandoc(found[2])
            for found in re.finditer(rf"^( *)```{language}\n(.*?)^\1```", text, re.MULTILINE | re.DOTALL)
        ]

    def test_a_suite(self, tmp_path):
        suite, task, quick = self.blocks("suites.md", "yaml")
        (tmp_path / "tasks").mkdir()
        (tmp_path / "support.yaml").write_text(suite)
        (tmp_path / "support-quick.yaml").write_text(quick)
        (tmp_path / "tasks" / "refunds.yaml").write_text(task)
        (question,) = self.blocks("suites.md", "json")
        assert json.loads(question).keys() == {"id", "question", "answer"}
        assert load_suite(str(tmp_path / "support.yaml")).settings.limit is None
        assert load_suite(str(tmp_path / "support-quick.yaml")).settings.limit == 100

    def test_a_recipe_and_its_data(self, tmp_path):
        (recipe,) = self.blocks("recipes-and-data.md", "yaml")
        (tmp_path / "recipe.yaml").write_text(recipe)
        assert load_recipe(str(tmp_path / "recipe.yaml")).name == "support-sft"
        (rows,) = self.blocks("recipes-and-data.md", "json")
        (tmp_path / "data.jsonl").write_text(rows)
        check_dataset(str(tmp_path / "data.jsonl"))

    def test_a_profile_of_resources(self, tmp_path):
        (profile,) = self.blocks("kubernetes.md", "yaml")
        (tmp_path / "mine.yaml").write_text(profile)
        assert load_resources(str(tmp_path / "mine.yaml")).steps["evaluate"].gpus == 2

    def test_a_step(self, tmp_path):
        step, _ = self.blocks("contributing.md", "python")
        path = tmp_path / "check_numbers.py"
        path.write_text(step)
        spec = importlib.util.spec_from_file_location("check_numbers", path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        assert module.check_numbers.component_spec.name == "check-numbers"
        inside = [node for node in ast.walk(ast.parse(step)) if isinstance(node, ast.ImportFrom)]
        for node in inside:
            for name in node.names:
                exec(f"from {node.module} import {name.name}", {})
