"""The linear probe, against scikit-learn and closed forms."""

import json

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from cl_keras.evaluation import Features, few_labels, fit_linear_head, linear_probe
from cl_keras.evaluation.few_labels import curve_totals, draw, proportional_counts
from cl_keras.evaluation.labeled import labeled_pair
from cl_keras.evaluation.linear import predict_classes


def _digits():
    images, labels = load_digits(return_X_y=True)
    return images[:1200], labels[:1200], images[1200:], labels[1200:]


def _loss(x, y, kernel, bias, l2):
    """Penalized cross-entropy, by loops over rows; the kernel is for standardized features."""
    total = l2 / 2 * np.sum(kernel**2)
    for row, label in zip(x @ kernel + bias, y, strict=True):
        total += np.log(np.sum(np.exp(row - row.max()))) + row.max() - row[label]
    return total / len(x)


@pytest.mark.parametrize("l2", [1.0, 30.0])
def test_probe_equals_scikit_learn(l2):
    x, y, test_x, test_y = _digits()
    scaler = StandardScaler().fit(x)
    model = LogisticRegression(C=1 / l2, max_iter=2000, tol=1e-6).fit(scaler.transform(x), y)
    kernel, bias = fit_linear_head(x, y, l2=l2)

    logits = test_x @ kernel + bias
    expected = model.decision_function(scaler.transform(test_x))
    ours, theirs = (np.exp(s - s.max(1, keepdims=True)) for s in (logits, expected))
    ours, theirs = (p / p.sum(1, keepdims=True) for p in (ours, theirs))
    np.testing.assert_allclose(ours, theirs, atol=0.02)
    score = linear_probe(Features(x, y), Features(test_x, test_y), l2=l2)["top1"]
    assert abs(score - model.score(scaler.transform(test_x), test_y)) <= 0.005

    z = scaler.transform(x)
    standard = kernel * scaler.scale_[:, None], bias + scaler.mean_ @ kernel
    least = _loss(z, y, model.coef_.T, model.intercept_, l2)
    assert _loss(z, y, *standard, l2) <= least * 1.001 + 1e-6


def test_probe_of_two_points_has_a_closed_form():
    # One feature, ±1 after standardization, W = (-w, w)/2:
    # 2·log(1 + e^{-w}) + l2/2·(w²/2) is least where 2·σ(-w) = l2·w/2.
    kernel, bias = fit_linear_head([[3.0], [5.0]], [0, 1], l2=1.0)
    w = kernel[0, 1] - kernel[0, 0]  # the deviation of (3, 5) is 1
    np.testing.assert_allclose(2 / (1 + np.exp(w)), w / 2, rtol=1e-3)
    np.testing.assert_allclose(np.float32([[4.0]]) @ kernel + bias, [[0, 0]], atol=1e-3)


def test_standardization_is_folded_in_and_makes_units_irrelevant():
    x, y, test_x, _ = _digits()
    kernel, bias = fit_linear_head(x, y, l2=30)
    scale, shift = np.linspace(0.01, 90, 64), np.linspace(-5, 7, 64)
    other_kernel, other_bias = fit_linear_head(x * scale + shift, y, l2=30)
    logits = (test_x * scale + shift) @ other_kernel + other_bias
    np.testing.assert_allclose(logits, test_x @ kernel + bias, atol=0.05)


def test_constant_dimensions_are_ignored():
    x, y, test_x, test_y = _digits()
    still = [np.full((len(a), 1), 1e4) for a in (x, test_x)]
    expected = linear_probe(Features(x, y), Features(test_x, test_y))["top1"]
    with_still = linear_probe(
        Features(np.hstack([x, still[0]]), y), Features(np.hstack([test_x, still[1]]), test_y)
    )
    assert with_still["top1"] == pytest.approx(expected, abs=0.003)
    kernel, _ = fit_linear_head(np.hstack([x, still[0]]), y)
    np.testing.assert_array_equal(kernel[-1], 0)


def test_two_fits_are_equal_and_the_protocol_is_plain():
    x, y, test_x, test_y = _digits()
    first, second = fit_linear_head(x, y), fit_linear_head(x, y)
    np.testing.assert_array_equal(first[0], second[0])
    np.testing.assert_array_equal(first[1], second[1])
    score = linear_probe(Features(x, y), Features(test_x, test_y))
    assert json.loads(json.dumps(score)) == score
    assert score["protocol"]["converged"]
    assert 1 < score["protocol"]["epochs"] < 1000


def test_head_has_a_column_for_every_class():
    kernel, bias = fit_linear_head(np.eye(3), [0, 2, 1], 5)
    assert (kernel.shape, bias.shape) == ((3, 5), (5,))
    assert (kernel.dtype, bias.dtype) == (np.float32, np.float32)
    assert fit_linear_head(np.eye(3), [0, 6, 1])[1].shape == (7,)


def test_label_outside_the_classes_is_an_error():
    with pytest.raises(ValueError, match="below num_classes = 2; received 2"):
        fit_linear_head(np.eye(3), [0, 1, 2], 2)
    with pytest.raises(ValueError, match="l2 must be a number of at least 0; received -1"):
        fit_linear_head(np.eye(3), [0, 1, 2], l2=-1)


def test_draw_is_stratified():
    labels = np.repeat([0, 1, 4], [50, 20, 30])
    rows = draw(labels, [5, 2, 0, 0, 3], np.random.default_rng(0))
    assert len(set(rows)) == 10
    np.testing.assert_array_equal(labels[rows], np.repeat([0, 1, 4], [5, 2, 3]))


def test_few_labels_averages_probes_of_its_draws():
    x, y, test_x, test_y = _digits()
    score = few_labels(
        Features(x, y), Features(test_x, test_y), per_class=3, trials=2, seed=4, epochs=1000
    )
    expected = []
    for trial in range(2):
        rows = draw(y, [3] * 10, np.random.default_rng([4, trial]))
        expected.append(linear_probe(Features(x[rows], y[rows]), Features(test_x, test_y))["top1"])
    assert score["trials"] == expected
    assert expected[0] != expected[1]  # two draws, not one
    assert score["top1"] == pytest.approx(sum(expected) / 2)
    assert score["std"] == pytest.approx(abs(expected[0] - expected[1]) / np.sqrt(2))
    assert score["protocol"]["labels"] == 30
    assert json.loads(json.dumps(score)) == score


def test_all_labels_are_the_linear_probe():
    x, y, test_x, test_y = _digits()
    score = few_labels(Features(x, y), Features(test_x, test_y), share=1, trials=1, epochs=1000)
    assert score["top1"] == linear_probe(Features(x, y), Features(test_x, test_y))["top1"]
    assert score["std"] == 0


def test_share_keeps_at_least_one_row_of_each_class():
    x, y, test_x, test_y = _digits()
    assert (
        few_labels(Features(x, y), Features(test_x, test_y), share=1e-6, trials=1)["protocol"][
            "labels"
        ]
        == 10
    )
    tenth = few_labels(Features(x, y), Features(test_x, test_y), share=0.1, trials=1)["protocol"][
        "labels"
    ]
    assert tenth == sum(round(0.1 * n) for n in np.bincount(y))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"share": 0.1, "per_class": 3}, "one of share, per_class and total; received"),
        ({"total": 1}, "from 2, one label per class, to 5; received 1"),
        ({"share": 0}, "above 0 and at most 1; received 0"),
        ({"share": 2}, "received 2"),
        ({"per_class": 3}, "at most 2, the size of the smallest class, 1; received 3"),
        ({"trials": 0}, "trials must be an integer of at least 1"),
    ],
)
def test_wrong_draws_are_explained(change, message):
    data = Features(np.eye(5), [0, 0, 0, 1, 1])
    with pytest.raises(ValueError, match=message):
        few_labels(data, data, **change)


def test_ids_as_labels_cost_no_more_than_their_classes():
    x, ids = np.random.default_rng(0).normal(size=(40, 16)), np.array([20240101, 20240102] * 20)
    numbered = Features(x, ids % 2)
    expected = linear_probe(numbered, numbered)["top1"]
    assert linear_probe(Features(x, ids), Features(x, ids))["top1"] == expected
    with pytest.raises(ValueError, match="labels up to 20240102 for only 2 classes"):
        fit_linear_head(x, ids)


@pytest.mark.parametrize("shape", [(300, 20), (30, 200)])
def test_the_preconditioned_minimum_is_that_of_the_plain_objective(shape, monkeypatch):
    x = np.random.default_rng(0).normal(size=shape) @ np.diag(np.geomspace(1, 30, shape[1]))
    y = np.arange(shape[0]) % 3
    kernel, bias = fit_linear_head(x, y)
    monkeypatch.setattr("cl_keras.evaluation.linear.MAX_PRECONDITIONED", 0)
    plain_kernel, plain_bias = fit_linear_head(x, y)
    np.testing.assert_allclose(x @ kernel + bias, x @ plain_kernel + plain_bias, atol=0.02)


def test_a_class_without_labels_is_never_predicted():
    train = Features(np.eye(3), [0, 1, 2])
    pair = labeled_pair(train, train)
    predicted, _ = predict_classes(pair, np.array([0, 2]))
    assert set(predicted) == {0, 2}


@pytest.mark.parametrize(
    ("sizes", "total", "expected"),
    [
        ([50, 30, 20], 10, [5, 3, 2]),
        ([98, 1, 1], 10, [8, 1, 1]),
        ([3, 3, 3], 7, [3, 2, 2]),
        ([1, 1, 98], 100, [1, 1, 98]),
    ],
)
def test_few_labels_come_in_the_proportion_of_the_classes(sizes, total, expected):
    np.testing.assert_array_equal(proportional_counts(np.array(sizes), total), expected)


def test_the_label_curve_doubles_up_to_half_of_all():
    x = Features(np.ones((200, 2)), np.arange(200) % 12)
    assert curve_totals(len(x), len(set(x.labels))) == [20, 40, 80]
