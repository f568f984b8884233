import pytest
import yaml

from components.errors import BadParameter
from components.finetune.recipe import load_recipe
from components.named import FOLDERS


def own(tmp_path, **changes):
    content = yaml.safe_load((FOLDERS["recipe"] / "demo.yaml").read_text()) | changes
    path = tmp_path / "own.yaml"
    path.write_text(yaml.safe_dump({key: value for key, value in content.items() if value is not None}))
    return str(path)


def test_the_demo_recipe():
    recipe = load_recipe("demo")
    assert recipe.max_steps == 100
    assert recipe.per_device_batch_size * recipe.gradient_accumulation_steps == 32
    assert (recipe.learning_rate, recipe.lr_scheduler, recipe.warmup_ratio) == (3e-4, "linear", 0)
    assert (recipe.seed, recipe.dataset) == (123, "demo")


@pytest.mark.parametrize("name", sorted(path.stem for path in FOLDERS["recipe"].glob("*.yaml")))
def test_every_recipe_loads_under_its_own_name(name):
    assert load_recipe(name).name == name


def test_a_recipe_of_ones_own(tmp_path):
    # YAML 1.1 reads 5e-6 as a text.
    path = own(tmp_path)
    text = (tmp_path / "own.yaml").read_text().replace("0.0003", "5e-6")
    (tmp_path / "own.yaml").write_text(text)
    assert load_recipe(path).learning_rate == 5e-6


def test_an_unknown_name_lists_the_names():
    with pytest.raises(BadParameter, match=r"no recipe 'dmeo'[\s\S]*demo"):
        load_recipe("dmeo")


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"learning_rat": 1e-3}, "learning_rat: Extra inputs"),
        ({"learning_rate": None}, "learning_rate: Field required"),
        ({"learning_rate": float("nan")}, "learning_rate"),
        ({"learning_rate": -1.0}, "learning_rate"),
        ({"max_steps": 0}, "max_steps"),
        ({"lr_scheduler": "cosin"}, "lr_scheduler"),
        ({"warmup_ratio": 1.5}, "warmup_ratio"),
    ],
)
def test_what_a_recipe_may_not_say(tmp_path, changes, complaint):
    with pytest.raises(BadParameter, match=complaint):
        load_recipe(own(tmp_path, **changes))


@pytest.mark.parametrize("content", ["- a\n", "a: [", "", "text"])
def test_a_file_that_is_no_recipe(tmp_path, content):
    (tmp_path / "own.yaml").write_text(content)
    with pytest.raises(BadParameter, match=r"own\.yaml is not"):
        load_recipe(str(tmp_path / "own.yaml"))
