import shutil

import pytest
import yaml

from components.errors import BadParameter
from components.evaluate.suite import load_suite
from components.named import FOLDERS


@pytest.fixture
def own(tmp_path):
    """A copy of the demo suite that may be changed, and a way to change its definition."""
    shutil.copytree(FOLDERS["evaluation suite"], tmp_path / "suites")
    path = tmp_path / "suites" / "demo.yaml"

    def change(**changes):
        content = yaml.safe_load(path.read_text()) | changes
        path.write_text(yaml.safe_dump({key: value for key, value in content.items() if value is not None}))
        return load_suite(str(path))

    return change


@pytest.mark.parametrize("name", sorted(path.stem for path in FOLDERS["evaluation suite"].glob("*.yaml")))
def test_every_suite_loads_under_its_own_name_with_the_files_of_its_tasks(name):
    suite = load_suite(name)
    assert suite.name == name
    if suite.folder:
        written = {yaml.safe_load(path.read_text())["task"] for path in suite.folder.rglob("*.yaml")}
        assert {task.name for task in suite.tasks} <= written


def test_the_demo_suite_needs_the_whole_reply():
    suite = load_suite("demo")
    assert [task.name for task in suite.tasks] == ["demo_new_facts", "demo_old_facts"]
    for path in suite.folder.glob("*.yaml"):
        task = yaml.safe_load(path.read_text())
        assert task["generation_kwargs"]["until"] == []
        assert [metric["metric"] for metric in task["metric_list"]] == ["exact_match"]
        assert not any(key.startswith(("ignore_", "regexes_")) for key in task["metric_list"][0])
        assert "filter_list" not in task


def test_a_copy_elsewhere_is_the_same_suite(own):
    assert own().digest == load_suite("demo").digest


@pytest.mark.parametrize(
    "changes", [{"description": "other"}, {"settings": {"apply_chat_template": True, "dtype": "bfloat16"}}]
)
def test_another_definition_is_another_suite(own, changes):
    assert own(**changes).digest != load_suite("demo").digest


def test_other_data_is_another_suite(own, tmp_path):
    before = own().digest
    (tmp_path / "suites" / "demo" / "new_facts.jsonl").open("a").write("\n")
    assert own().digest != before


def test_another_task_file_is_another_suite(own, tmp_path):
    before = own().digest
    (tmp_path / "suites" / "demo" / "demo_new_facts.yaml").open("a").write("# x\n")
    assert own().digest != before


def test_an_unknown_name_lists_the_names():
    with pytest.raises(BadParameter, match=r"no evaluation suite 'dmeo'[\s\S]*demo"):
        load_suite("dmeo")


TASK = {"name": "a", "description": "b", "metric": "acc,none"}


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"extra": 1}, "extra: Extra inputs"),
        ({"tasks": []}, "tasks"),
        ({"tasks": [TASK, TASK]}, "a task twice"),
        ({"tasks": [TASK | {"metric": "acc"}]}, "tasks.0.metric"),
        ({"harness": "other"}, "harness"),
        ({"settings": None}, "settings: Field required"),
        ({"include_path": "elsewhere"}, "not a folder"),
    ],
)
def test_what_a_suite_may_not_say(own, changes, complaint):
    with pytest.raises(BadParameter, match=complaint):
        own(**changes)
