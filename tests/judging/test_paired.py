import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.errors import BadParameter
from components.judging.evaluation import Weighted
from components.judging.paired import difference, estimate, scores


def equal(pairs):
    """Differences by task, each counting the same."""
    return {task: Weighted(values=values, weights=[1.0] * len(values)) for task, values in pairs.items()}


def test_difference_of_one_task_matches_bonett_and_price_by_hand(make_evaluation):
    # 10 pairs: 6 won, 1 lost, 3 tied. Adjusted proportions (6 + 1) / 12 and (1 + 1) / 12; their difference is 5/12,
    # its variance (7/12 + 2/12 − (5/12)²) / 12 = 0.0480324; 5/12 ∓ 1.96 · 0.2191629.
    ours = make_evaluation({"t": [1.0] * 6 + [0.0] + [1.0, 0.0, 0.0]})
    theirs = make_evaluation({"t": [0.0] * 6 + [1.0] + [1.0, 0.0, 0.0]})
    found = difference(ours, theirs)
    assert found.tasks["t"].value == 0.5
    assert found.tasks["t"].low == pytest.approx(-0.012884861225341826, abs=1e-12)
    assert found.tasks["t"].high == pytest.approx(0.8462181945586753, abs=1e-12)
    assert found.mean == found.tasks["t"]


def test_difference_pairs_by_id_and_not_by_position(make_evaluation):
    ours = make_evaluation({"t": [1.0, 0.0, 1.0, 0.0]})
    shuffled = ours.model_copy(update={"samples": ours.samples[::-1]})
    found = difference(ours, shuffled).tasks["t"]
    assert found.value == 0
    assert found.high == pytest.approx(-found.low)
    # Had they been paired by position, four lost and won pairs would have made it wider.
    assert found.high < estimate(equal({"t": [1.0, -1.0, 1.0, -1.0]})).mean.high


def test_mean_difference_weighs_tasks_and_not_samples():
    found = estimate(equal({"big": [1.0] * 300, "small": [0.0] * 3}))
    assert found.mean.value == 0.5


def test_mean_interval_of_two_tasks_by_hand():
    # Weight ½ of +1 and −1 in each: a = 4 wins in 9 pairs + 1, centre 0.4, variance ((4 + 1) / 10 − 0.16) / 10;
    # b = 9 ties, centre 0, variance (1 / 10) / 10. Mean 0.2, error √(0.034 + 0.01) / 2.
    found = estimate(equal({"a": [1.0] * 4 + [0.0] * 5, "b": [0.0] * 9})).mean
    half = 1.959963984540054 * 0.044**0.5 / 2
    assert (found.low, found.high) == (pytest.approx(0.2 - half), pytest.approx(0.2 + half))


@pytest.mark.parametrize(
    ("tasks", "samples", "ours", "theirs"),
    [(1, 96, 0.9, 0.01), (1, 30, 0.6, 0.5), (2, 96, 0.9, 0.0), (6, 96, 0.98, 0.01), (6, 30, 0.85, 0.05)],
)
def test_mean_interval_covers_the_truth_about_95_times_in_100(tasks, samples, ours, theirs):
    rng = random.Random(7)
    repeats, covered = 1000, 0
    for _ in range(repeats):
        pairs = {
            str(task): [float(rng.random() < ours) - (rng.random() < theirs) for _ in range(samples)]
            for task in range(tasks)
        }
        found = estimate(equal(pairs)).mean
        covered += found.low <= ours - theirs <= found.high
    # Three standard errors of 1000 draws below 95 %; above it a small sample may be conservative.
    assert 0.93 <= covered / repeats <= 0.995


def test_graded_scores_are_covered_too():
    rng = random.Random(11)
    covered = 0
    for _ in range(1000):
        found = estimate(equal({"t": [rng.betavariate(4, 2) - rng.betavariate(2, 4) for _ in range(40)]})).mean
        covered += found.low <= 1 / 3 <= found.high
    assert covered >= 930


def test_weights_of_whole_numbers_are_repeats_in_the_value_and_say_less_in_the_width():
    # Weights 3, 1, 1: mean 2/5; effective size 25/11; variance Σ(w(d − m))² / Σw² = (3.24 + 1.96 + 0.16) / 11.
    found = Weighted(values=[1.0, -1.0, 0.0], weights=[3.0, 1.0, 1.0])
    assert found.mean == pytest.approx(0.4)
    assert found.size == pytest.approx(25 / 11)
    assert found.variance == pytest.approx((3.24 + 1.96 + 0.16) / 11)
    n, size = 25 / 11 + 2, 25 / 11
    centre = size * 0.4 / n
    variance = ((size * (5.36 / 11 + 0.16) + 2) / n - centre**2) / n
    half = 1.959963984540054 * variance**0.5
    task = estimate({"t": found}).tasks["t"]
    assert (task.value, task.high) == (pytest.approx(0.4), pytest.approx(min(1.0, centre + half)))


def test_the_macro_mean_of_parts_is_covered_about_95_times_in_100():
    # Seven parts of unequal size, as MATH has; each part counts the same.
    sizes, wins = (60, 20, 24, 45, 27, 43, 27), (0.5, 0.2, 0.3, 0.1, 0.3, 0.6, 0.1)
    losses = [win - 0.15 if win > 0.2 else win / 2 for win in wins]
    truth = sum(win - loss for win, loss in zip(wins, losses, strict=True)) / 7
    rng, covered = random.Random(5), 0
    for _ in range(1000):
        values, weights = [], []
        for size, win, loss in zip(sizes, wins, losses, strict=True):
            draws = [rng.random() for _ in range(size)]
            values += [1.0 if draw < win else -1.0 if draw > 1 - loss else 0.0 for draw in draws]
            weights += [1 / size] * size
        found = estimate({"math": Weighted(values=values, weights=weights)}).mean
        covered += found.low <= truth <= found.high
    assert 0.93 <= covered / 1000 <= 0.995


def test_samples_of_which_the_data_changed_between_the_two_are_refused(make_evaluation):
    ours = make_evaluation({"t": [1.0, 1.0]})
    changed = tuple(sample.model_copy(update={"expected": f"not {sample.expected}"}) for sample in ours.samples[:1])
    theirs = ours.model_copy(update={"samples": (*changed, *ours.samples[1:])})
    with pytest.raises(BadParameter, match="expect other answers to the sample '0'"):
        difference(ours, theirs)


def test_samples_that_count_otherwise_are_refused(make_evaluation):
    ours = make_evaluation({"t": [1.0, 1.0]})
    heavier = tuple(sample.model_copy(update={"weight": 1.0 + int(sample.id)}) for sample in ours.samples)
    with pytest.raises(BadParameter, match="do not count alike"):
        difference(ours, ours.model_copy(update={"samples": heavier}))


def test_a_score_is_the_weighted_mean_of_its_samples(make_evaluation):
    plain = make_evaluation({"t": [1.0, 0.0]})
    heavy = (plain.samples[0].model_copy(update={"weight": 3.0}), plain.samples[1])
    with pytest.raises(BadParameter, match=r"score 0\.5000, but its 2 samples have the mean 0\.7500"):
        scores(plain.model_copy(update={"samples": heavy}))


differences = st.lists(st.floats(-1, 1), min_size=1, max_size=30)


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(st.text(max_size=3), differences, min_size=1, max_size=5))
def test_difference_is_antisymmetric_and_stays_in_range(pairs):
    found = estimate(equal(pairs)).mean
    swapped = estimate(equal({task: [-value for value in values] for task, values in pairs.items()})).mean
    assert (swapped.value, swapped.low, swapped.high) == pytest.approx((-found.value, -found.high, -found.low))
    assert -1 <= found.low <= found.value <= found.high <= 1


@pytest.mark.parametrize(
    ("right", "samples", "low", "high"),
    # scipy.stats.binomtest(right, samples).proportion_ci(method="wilson")
    [(0, 96, 0.0, 0.03847558785767568), (86, 96, 0.8187783586967835, 0.9424284675825566), (7, 10, 0.3968, 0.8922)],
)
def test_score_interval_of_right_and_wrong_is_wilsons(make_evaluation, right, samples, low, high):
    found = scores(make_evaluation({"t": [1.0] * right + [0.0] * (samples - right)}))
    assert (found.mean.low, found.mean.high) == (pytest.approx(low, abs=5e-5), pytest.approx(high, abs=5e-5))


def test_score_interval_of_graded_scores_is_narrower_than_of_right_and_wrong(make_evaluation):
    graded = scores(make_evaluation({"t": [0.4, 0.6] * 20})).mean
    binary = scores(make_evaluation({"t": [0.0, 1.0] * 20})).mean
    assert graded.value == binary.value == 0.5
    assert binary.low < graded.low < 0.5 < graded.high < binary.high


def test_mean_score_over_tasks_is_surer_than_either_task(make_evaluation):
    found = scores(make_evaluation({"a": [1.0, 0.0] * 30, "b": [1.0, 0.0] * 30}))
    assert found.tasks["a"].low < found.mean.low < found.mean.high < found.tasks["a"].high


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"suite_digest": "f" * 64}, "f" * 64),
        ({"suite": "other", "suite_digest": "f" * 64}, "other"),
    ],
)
def test_another_suite_is_refused_by_name_and_digest(make_evaluation, change, named):
    ours = make_evaluation({"t": [1.0, 0.0]}, name="ours")
    with pytest.raises(BadParameter, match=named) as caught:
        difference(ours, make_evaluation({"t": [1.0, 0.0]}, **change))
    assert "ours" in caught.value.problem


def test_a_task_that_only_one_has_is_named(make_evaluation):
    with pytest.raises(BadParameter, match="the task 'sort'"):
        difference(make_evaluation({"t": [1.0], "sort": [1.0]}), make_evaluation({"t": [1.0]}))


def test_samples_that_only_one_has_are_named_and_counted(make_evaluation):
    with pytest.raises(BadParameter, match=r"in task 't' .* the samples '2', '3', '4' and 3 more"):
        difference(make_evaluation({"t": [1.0] * 8}), make_evaluation({"t": [1.0] * 2}))


def test_an_evaluation_that_contradicts_itself_is_refused(make_evaluation):
    sound = make_evaluation({"t": [1.0, 0.0]})
    task, sample = sound.tasks[0], sound.samples[0]
    broken = {
        "twice": {"samples": (*sound.samples, sample)},
        "does not list": {"samples": (*sound.samples, sample.model_copy(update={"task": "u"}))},
        "no samples": {"samples": ()},
        "no tasks": {"tasks": (), "samples": ()},
        "score 1.5": {"samples": (sample.model_copy(update={"score": 1.5}), sound.samples[1])},
        "mean 0.5000": {"tasks": (task.model_copy(update={"score": 0.6}),)},
    }
    for why, change in broken.items():
        with pytest.raises(BadParameter, match=why):
            scores(sound.model_copy(update=change))
