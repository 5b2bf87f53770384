"""Bootstrap intervals, against closed forms."""

import numpy as np
import pytest

from cl_keras.evaluation import difference
from cl_keras.evaluation.metric import metric_of


def test_the_interval_of_a_share_is_binomial():
    hits = np.arange(1000) % 10 < 7
    metric = metric_of("knn", hits, "")
    half = 1.96 * np.sqrt(0.7 * 0.3 / 1000)
    assert metric.value == 0.7
    assert np.diff(metric.interval)[0] / 2 == pytest.approx(half, rel=0.1)


def test_balanced_is_the_mean_over_classes():
    hits, classes = np.array([1, 1, 1, 0, 0]) > 0, np.array([0, 0, 0, 0, 1])
    assert metric_of("knn", hits, "", classes).balanced == pytest.approx((0.75 + 0) / 2)


def test_a_difference_is_paired():
    # Two metrics that agree on all but 30 of 1,000 images: the error of their difference is that
    # of 30 images, though each alone has an error of ±2.8 points.
    first = np.arange(1000) % 2 == 0
    second = first.copy()
    second[np.flatnonzero(first)[:30]] = False
    gain = difference(metric_of("knn", first, ""), metric_of("knn", second, ""))
    half = 1.96 * np.sqrt(0.03 * 0.97 / 1000)
    assert gain.value == pytest.approx(0.03)
    assert (gain.high - gain.low) / 2 == pytest.approx(half, rel=0.1)
    assert gain.is_above and not gain.is_below


def test_equal_metrics_have_no_difference():
    metric = metric_of("knn", np.arange(50) % 3 > 0, "")
    same = difference(metric, metric)
    assert (same.value, same.low, same.high) == (0, 0, 0)
    assert not same.is_above and not same.is_below


def test_trials_widen_the_interval():
    # Every trial is all hits or none: the test images say nothing, the draw of labels all.
    hits = np.array([[True] * 100, [False] * 100] * 3)
    metric = metric_of("linear_10_labels", hits, "")
    assert metric.value == 0.5
    assert np.diff(metric.interval)[0] > 0.6  # six coins: a deviation of .2


def test_a_balanced_difference_weighs_classes_alike():
    classes = np.array([0] * 90 + [1] * 10)
    none, rare = np.zeros(100, bool), classes == 1
    gain = difference(
        metric_of("knn", rare, "", classes), metric_of("knn", none, "", classes), balanced=True
    )
    assert gain.value == pytest.approx(0.5)


def test_other_test_images_are_refused():
    with pytest.raises(ValueError, match="do not match"):
        difference(metric_of("a", np.ones(3) > 0, ""), metric_of("b", np.ones(4) > 0, ""))
