import json
import math
import shutil

import pytest
import yaml

from components.definitions import FOLDERS
from components.errors import BadParameter
from components.evaluate.suite import load_suite

NAMES = sorted(path.stem for path in FOLDERS["evaluation suite"].glob("*.yaml"))
SUBTASKS = {"mmlu": 57, "minerva_math": 7}


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


@pytest.mark.parametrize("name", NAMES)
def test_every_suite_loads_under_its_own_name(name, tmp_path, monkeypatch):
    monkeypatch.setenv("RECYCLE_LLAMA_TASKS", str(tmp_path))
    suite = load_suite(name)
    assert suite.name == name
    assert suite.description.endswith(".")


def test_the_demo_suite_brings_its_tasks():
    suite = load_suite("demo")
    assert suite.offline
    assert suite.folder == suite.working_folder
    written = {yaml.safe_load(path.read_text())["task"] for path in suite.folder.rglob("*.yaml")}
    assert {task.name for task in suite.tasks} <= written


def test_the_papers_suite_for_post_trained_models():
    suite = load_suite("olmes-instruct")
    assert [(task.name, task.model_type, task.max_length) for task in suite.tasks] == [
        ("mmlu:0shot_cot::tulu3", "vllm", None),
        ("arc_challenge:mc::olmes", "hf", None),
        ("gsm8k::tulu", "vllm", None),
        ("minerva_math::tulu", "vllm", None),
        ("ifeval::tulu", "vllm", 4096),
        ("gpqa:0shot_cot::tulu3", "vllm", 4096),
    ]
    assert (suite.settings.add_bos_token, suite.settings.dtype) == (True, "bfloat16")


def test_the_papers_suite_for_base_models():
    """As tools/olmes/eval_pt_olmo2.sh of the paper's repository has it."""
    suite = load_suite("olmes-base")
    assert [(task.name, task.model_type, task.max_length) for task in suite.tasks] == [
        ("mmlu:mc::olmes", "hf", None),
        ("arc_challenge:mc::olmes", "hf", None),
        ("gsm8k::olmes", "vllm", None),
        ("minerva_math::olmes", "vllm", None),
        ("ifeval", "vllm", 4096),
        ("gpqa", "vllm", 4096),
    ]
    assert (suite.settings.add_bos_token, suite.settings.dtype) == (True, "bfloat16")


def test_the_papers_suite_for_llama(tmp_path, monkeypatch):
    folder = tmp_path / "work_dir"
    folder.mkdir()
    monkeypatch.setenv("RECYCLE_LLAMA_TASKS", str(folder))
    suite = load_suite("llama-instruct")
    assert [(task.name, task.max_length) for task in suite.tasks] == [
        ("meta_gsm8k_8shot_cot", 4096),
        ("meta_math", 8192),
        ("meta_gpqa_cot", 4096),
        ("meta_mmlu_instruct", 4096),
        ("meta_ifeval", 8192),
        ("meta_arc_challenge_instruct", 4096),
    ]
    assert (suite.settings.apply_chat_template, suite.settings.seed) == (True, 42)
    # Meta's task files name their data as ./work_dir/….
    assert (suite.folder, suite.working_folder) == (folder, tmp_path)
    before = suite.digest
    (folder / "task.yaml").write_text("task: meta_math")
    assert load_suite("llama-instruct").digest != before


@pytest.mark.parametrize("value", [None, "/nowhere"])
def test_metas_task_files_have_to_be_given(value, monkeypatch):
    if value:
        monkeypatch.setenv("RECYCLE_LLAMA_TASKS", value)
    with pytest.raises(BadParameter, match=r"RECYCLE_LLAMA_TASKS is [\s\S]*llama-recipes"):
        load_suite("llama-instruct")


@pytest.mark.parametrize("name", [name for name in NAMES if name.endswith("-quick")])
def test_a_quick_suite_asks_the_same_of_fewer_questions_and_says_how_sure_that_is(name, tmp_path, monkeypatch):
    monkeypatch.setenv("RECYCLE_LLAMA_TASKS", str(tmp_path))
    quick, whole = load_suite(name), load_suite(name.removesuffix("-quick"))
    counts = []
    for ours, theirs in zip(quick.tasks, whole.tasks, strict=True):
        assert ours == theirs.model_copy(update={"limit": ours.limit} if quick.harness == "olmes" else {})
        limit = ours.limit if quick.harness == "olmes" else quick.settings.limit
        counts.append(limit * SUBTASKS.get(ours.name.split(":")[0], 1))
    # The standard error of a share of n answers is at most √(¼ / n).
    assert f"{math.ceil(1000 * math.sqrt(0.25 / min(counts))) / 10} points" in quick.description


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
        ({"harness": "other"}, "'lm-eval', 'olmes'"),
        ({"harness": "olmes"}, "Extra inputs"),
        ({"settings": None}, "settings: Field required"),
        ({"include_path": "elsewhere"}, "not a folder"),
    ],
)
def test_what_a_suite_may_not_say(own, changes, complaint):
    with pytest.raises(BadParameter, match=complaint):
        own(**changes)


class TestLocalData:
    @pytest.fixture
    def write(self, tmp_path):
        """Write a suite for OLMES whose one task brings data; with changes to the files of its folder."""
        rows = "".join(json.dumps({"question": f"q{n}", "answer": f"#### {n}"}) + "\n" for n in range(3))
        readme = "---\nconfigs:\n- config_name: main\n  data_files:\n  - split: test\n    path: test.jsonl\n---\n"

        def write(**files):
            folder = tmp_path / "gsm8k"
            folder.mkdir(exist_ok=True)
            for name, content in ({"README.md": readme, "test.jsonl": rows} | files).items():
                (folder / name).write_text(content) if content is not None else (folder / name).unlink()
            task = {"name": "gsm8k::tulu", "description": "d", "data": "gsm8k"}
            settings = {"add_bos_token": True, "dtype": "bfloat16"}
            content = {"name": "own", "description": "d", "harness": "olmes", "tasks": [task], "settings": settings}
            (tmp_path / "own.yaml").write_text(yaml.safe_dump(content))
            return load_suite(str(tmp_path / "own.yaml"))

        return write

    def test_it_is_found_and_counts(self, write, tmp_path):
        suite = write()
        assert suite.folders == {"gsm8k::tulu": tmp_path / "gsm8k"}
        assert write().digest == suite.digest
        assert write(**{"test.jsonl": '{"question": "other", "answer": "#### 1"}\n'}).digest != suite.digest

    @pytest.mark.parametrize(
        ("files", "complaint"),
        [
            ({"README.md": "no front matter"}, "does not begin with YAML"),
            ({"README.md": "---\na: [\n---\n"}, "does not begin with YAML"),
            ({"README.md": "---\na: 1\n---\n"}, "lists no configs"),
            ({"README.md": "---\nconfigs: []\n---\n"}, "lists no data files"),
            ({"README.md": "---\nconfigs: [{data_files: [{path: x}]}]\n---\n"}, "without a split"),
            ({"README.md": "---\nconfigs: [{data_files: [{split: test, path: x.jsonl}]}]\n---\n"}, "x.jsonl cannot"),
            ({"README.md": "---\nconfigs: [{data_files: [{split: test, path: ../x.jsonl}]}]\n---\n"}, "lies outside"),
            ({"README.md": "---\nconfigs: [{data_files: [{split: test, path: /x.jsonl}]}]\n---\n"}, "lies outside"),
            ({"test.jsonl": ""}, "is empty"),
            ({"test.jsonl": "{"}, "is not JSON lines"),
            ({"test.jsonl": "1\n"}, "no JSON object"),
            ({"gsm8k.py": "print('run')"}, "holds the script gsm8k.py"),
        ],
    )
    def test_what_it_may_not_be(self, write, files, complaint):
        with pytest.raises(BadParameter, match=complaint):
            write(**files)

    def test_it_has_no_commit(self, write, tmp_path):
        write()
        file = tmp_path / "own.yaml"
        content = yaml.safe_load(file.read_text())
        content["tasks"][0]["revision"] = "e5" * 20
        file.write_text(yaml.safe_dump(content))
        with pytest.raises(BadParameter, match="a folder has no commit"):
            load_suite(str(file))

    def test_a_folder_that_is_not_there(self, write, tmp_path):
        write()
        shutil.rmtree(tmp_path / "gsm8k")
        with pytest.raises(BadParameter, match="is not there"):
            load_suite(str(tmp_path / "own.yaml"))


class TestExtending:
    @pytest.fixture
    def extending(self, own, tmp_path):
        """Loads a suite in a folder of its own that extends the changeable demo suite."""
        own()
        path = tmp_path / "mine" / "quick.yaml"
        path.parent.mkdir()

        def load(**content):
            given = {"name": "quick", "description": "Few.", "extends": "../suites/demo.yaml"} | content
            path.write_text(yaml.safe_dump(given))
            return load_suite(str(path))

        return load

    def test_only_what_it_says_is_different(self, extending, tmp_path):
        demo, quick = load_suite(str(tmp_path / "suites" / "demo.yaml")), extending(settings={"limit": 3})
        assert (quick.name, quick.description, quick.settings.limit) == ("quick", "Few.", 3)
        assert (quick.tasks, quick.folder) == (demo.tasks, demo.folder)
        assert quick.settings == demo.settings.model_copy(update={"limit": 3})
        assert quick.digest != demo.digest

    def test_one_that_ships_can_be_extended_by_name(self, extending):
        suite = extending(extends="olmes-base-quick", limits={"gpqa": 7})
        assert [task.limit for task in suite.tasks] == [4, 200, 200, 30, 200, 7]

    @pytest.mark.parametrize(
        ("changes", "complaint"),
        [
            ({"extends": "quick.yaml"}, "extends itself"),
            ({"extends": "nothing"}, "there is no evaluation suite 'nothing'"),
            ({"extends": "olmes-base", "limits": {"gpqq": 7}}, "limits gpqq, which olmes-base has not"),
            ({"extends": "olmes-base", "limits": {"gpqa": 0}}, r"tasks\.5\.limit"),
            ({"limits": {"demo_new_facts": 5}}, "Extra inputs"),
            ({"settings": {"sed": 1}}, r"settings\.sed"),
            ({"tasks": []}, "tasks"),
        ],
    )
    def test_what_it_may_not_say(self, extending, changes, complaint):
        with pytest.raises(BadParameter, match=complaint):
            extending(**changes)
