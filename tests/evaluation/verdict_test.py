"""The verdict follows its metrics, even if they are bad."""

import json

import numpy as np
import pytest

from cl_keras.evaluation import LEARNED, MAJORITY, Training, health, verdict
from cl_keras.evaluation.advice import advice, still_improving
from cl_keras.evaluation.metric import clear_leader, metric_of

CLASSES = np.arange(1000) % 4
HEALTHY = health(np.random.default_rng(0).normal(size=(500, 32)))
LABELS = (10, 20, 40, 80, 160, 320)


def _row(curve, linear, knn, seed, classes=CLASSES):
    """Metrics whose hits have the given shares."""
    generator = np.random.default_rng(seed)

    def hits(share, trials):
        order = np.argsort(generator.random((trials, len(classes))), axis=1)
        return order < round(share * len(classes))

    few = [(f"linear_{n}_labels", share, 5) for n, share in zip(LABELS, curve, strict=True)]
    return [
        metric_of(name, hits(share, trials), "", classes)
        for name, share, trials in [("knn", knn, 1), ("linear", linear, 1), *few]
    ]


def _rows(learned, other):
    return {
        MAJORITY: [metric_of("linear", CLASSES == 0, "", CLASSES)],
        "PCA-128, whitened": _row(*other, seed=1),
        LEARNED: _row(*learned, seed=2),
    }


GOOD = ([0.4, 0.5, 0.6, 0.7, 0.8, 0.85], 0.9, 0.9)
POOR = ([0.3, 0.35, 0.4, 0.5, 0.55, 0.6], 0.78, 0.7)


def test_an_encoder_that_wins_gets_that_verdict():
    found = verdict(_rows(GOOD, POOR), HEALTHY)
    assert (found.outcome, found.healthy, found.equal_labels) == ("better", True, 160)
    assert "With 160 labels, its accuracy on test images is 80.0 %" in found.text
    assert "25.0 points above PCA-128, whitened" in found.text
    assert "160 labels are enough to match the 78.0 % that the best baseline" in found.text
    few = next(c for c in found.comparisons if c.metric == "linear_160_labels")
    assert few.difference.is_above and few.difference.value == pytest.approx(0.25)
    assert json.loads(json.dumps(found.as_json()))["outcome"] == "better"


def test_an_encoder_that_loses_gets_that_verdict():
    found = verdict(_rows(POOR, GOOD), HEALTHY, Training(flips=True, crop_area=0.08))
    assert (found.outcome, found.equal_labels) == ("worse", None)
    assert found.text.startswith("The learned encoder does not win: a baseline is better.")
    assert "25.0 points below PCA-128, whitened" in found.text
    assert "With all labels it reaches 78.0 %, less than the 90.0 %" in found.text
    assert found.next_steps[0].startswith("use whitened PCA")
    assert "milder crops" in found.next_steps[1] and "flips" in found.next_steps[2]


def test_a_difference_within_the_error_is_no_win():
    nearly = ([share + 0.005 for share in POOR[0]], 0.781, 0.70)
    found = verdict(_rows(nearly, POOR), HEALTHY)
    assert found.outcome == "undecided"
    assert "no difference beyond the error" in found.text


def test_a_collapsed_embedding_is_not_recommended():
    collapsed = health(np.ones((50, 32)) + 1e-5 * np.eye(50, 32))
    found = verdict(_rows(GOOD, POOR), collapsed)
    assert not found.healthy
    assert found.text.startswith("The embedding has collapsed: do not use this encoder.")
    assert "lower learning rate" in found.text


def test_uneven_classes_are_judged_by_balanced_accuracy():
    classes = np.array([0] * 900 + [1] * 100)
    rows = {
        MAJORITY: [metric_of("linear", classes == 0, "", classes)],  # 90 %, balanced 50 %
        LEARNED: [metric_of("linear", np.arange(1000) % 5 > 0, "", classes)],  # 80 % of each
    }
    found = verdict(rows, HEALTHY)
    assert found.balanced and found.outcome == "better"
    assert "balanced accuracy on test images is 80.0 %" in found.text


def test_without_labels_retrieval_decides():
    def retrieval(share):
        return [metric_of("retrieval_top1", np.arange(500) < 500 * share, "")]

    found = verdict({"raw pixels": retrieval(0.2), LEARNED: retrieval(0.9)}, HEALTHY)
    assert found.outcome == "better"
    assert "Without labels, it retrieves the originals of 90.0 %" in found.text


def test_a_verdict_needs_something_to_compare_with():
    with pytest.raises(ValueError, match="and a baseline; received"):
        verdict({LEARNED: _row(*GOOD, seed=0)}, HEALTHY)


def test_still_improving_looks_at_the_last_half():
    assert still_improving({"loss": [4, 3, 2, 1.5, 1.2, 1.1, 1, 0.9]})
    assert not still_improving({"loss": [4, 2, 1, 1, 1, 1, 1, 0.995]})
    assert not still_improving({"loss": [4, 3, 2, 1], "knn": [0.5, 0.6, 0.7, 0.7]})
    assert still_improving({"knn": [None, 0.5, 0.6, 0.7, 0.8]})
    assert not still_improving({"loss": [2, 1]}) and not still_improving({})


def test_advice_has_at_most_three_steps_and_never_none():
    everything = Training(
        epochs=5,
        images=100,
        image_size=32,
        source_size=200,
        flips=True,
        crop_area=0.1,
        history={"loss": [4, 3, 2, 1]},
    )
    assert len(advice("worse", True, "PCA", everything)) == 3
    assert advice("undecided", True, "raw pixels", Training())


def test_only_a_clear_leader_leads():
    a = metric_of("knn", np.arange(100) < 90, "")
    b = metric_of("knn", np.arange(100) < 89, "")
    c = metric_of("knn", np.arange(100) < 50, "")
    assert clear_leader({"a": a, "c": c}) == "a"
    assert clear_leader({"a": a, "b": b, "c": c}) is None


def test_one_trial_can_lead_several():
    one = metric_of("linear_40_labels", np.arange(100) < 90, "")
    five = metric_of("linear_40_labels", np.tile(np.arange(100) < 50, [5, 1]), "")
    assert clear_leader({"one": one, "five": five}) == "one"
    assert clear_leader({"five": five}) is None


def test_the_leader_is_sought_among_balanced_accuracies_where_these_are_compared():
    """Nine of ten images are of class 0, which `a` knows; `b` knows two thirds of each."""
    classes = np.arange(1000) % 10 == 9
    a = metric_of("knn", classes == 0, "", classes.astype(int))
    b = metric_of("knn", np.arange(1000) % 3 > 0, "", classes.astype(int))
    assert a.value > b.value and a.balanced < b.balanced
    assert clear_leader({"a": a, "b": b}, balanced=False) == "a"
    assert clear_leader({"a": a, "b": b}, balanced=True) == "b"


def test_losing_after_few_images_is_blamed_on_the_training_not_on_the_views():
    short = Training(epochs=1, images=10_000, crop_area=0.3, flips=True)
    first = advice("worse", True, "raw pixels", short)[0]
    assert first.startswith("train much longer: in 1 epoch it has seen 10,000 images")
    long = Training(epochs=10, images=10_000, crop_area=0.3)
    assert not any("longer" in step for step in advice("worse", True, "raw pixels", long))
