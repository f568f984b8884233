import pytest
import yaml

from components.definitions import FOLDERS
from components.errors import BadParameter
from components.finetune.recipe import load_recipe, shortened


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


def test_a_share_of_a_recipe_is_a_training_of_its_own():
    recipe = load_recipe("demo")
    quarter = shortened(recipe, 0.25)
    assert (quarter.max_steps, quarter.name) == (25, "demo-25-steps")
    assert quarter.decisive != recipe.decisive
    assert shortened(recipe, 1) is recipe
    assert shortened(recipe, 0.0001).max_steps == 1
    assert shortened(load_recipe("paper-math"), 0.5).max_steps == 15_000


@pytest.mark.parametrize("share", [0, -0.5, 1.5])
def test_what_is_no_share_is_refused(share):
    with pytest.raises(BadParameter, match="length"):
        shortened(load_recipe("demo"), share)


def test_passes_over_the_data_have_no_shares():
    with pytest.raises(BadParameter, match="max_steps"):
        shortened(load_recipe("tulu3-sft"), 0.5)
