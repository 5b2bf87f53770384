"""Metrics of a collapse, against closed forms and loops."""

import json

import numpy as np
import pytest

from cl_keras.evaluation import alignment, effective_rank, health, uniformity


def test_alignment_of_equal_opposite_and_orthogonal_pairs():
    a = np.float32([[2, 0], [0, 0.5]])
    assert alignment(a, 3 * a) == pytest.approx(0, abs=1e-12)
    assert alignment(a, -a) == pytest.approx(4)
    assert alignment(a, a[:, ::-1]) == pytest.approx(2)


def test_uniformity_of_two_points():
    assert uniformity([[1, 0], [5, 0]]) == pytest.approx(0, abs=1e-6)
    assert uniformity([[1, 0], [0, 3]]) == pytest.approx(-4)  # squared distance 2
    assert uniformity([[1, 0], [-1, 0]]) == pytest.approx(-8)


def test_uniformity_equals_a_loop_over_blocks_of_pairs():
    a = np.random.default_rng(0).normal(size=(1300, 5))  # more than one block
    unit = a / np.linalg.norm(a, axis=1, keepdims=True)
    total = sum(
        np.exp(-2 * np.sum((unit[i] - unit[i + 1 :]) ** 2, axis=1)).sum() for i in range(1300)
    )
    assert uniformity(a) == pytest.approx(np.log(total / (1300 * 1299 / 2)), abs=1e-5)


def test_effective_rank_of_known_spectra():
    axes = np.concatenate([np.eye(6), -np.eye(6)])
    assert effective_rank(axes) == pytest.approx(6)
    assert effective_rank(axes + 7) == pytest.approx(6, abs=1e-4)  # an offset is no direction
    line = np.outer(np.linspace(-1, 1, 20), [1, 2, 3])
    assert effective_rank(line) == pytest.approx(1, abs=1e-3)
    # Singular values 3 : 1, shares 3/4 and 1/4.
    uneven = np.float32([[3, 0], [-3, 0], [0, 1], [0, -1]])
    expected = np.exp(-(0.75 * np.log(0.75) + 0.25 * np.log(0.25)))
    assert effective_rank(uneven) == pytest.approx(expected)


def test_a_collapsed_encoder_is_detected():
    one_point = np.tile(np.float32([0.3, 0.4, 0.5]), (50, 1))
    found = health(one_point, one_point)
    assert found["alignment"] == pytest.approx(0, abs=1e-6)
    assert found["uniformity"] == pytest.approx(0, abs=1e-5)
    assert found["effective_rank"] == 0
    assert found["std_mean"] == pytest.approx(0, abs=1e-7)


def test_an_even_spread_reaches_the_reference():
    sphere = np.random.default_rng(0).normal(size=(4000, 32))
    found = health(sphere)
    assert found["std_isotropic"] == 1 / np.sqrt(32)
    assert found["std_mean"] == pytest.approx(found["std_isotropic"], rel=0.02)
    assert found["effective_rank"] > 31.5
    assert "alignment" not in found
    assert json.loads(json.dumps(found)) == found


def test_wrong_input_is_explained():
    with pytest.raises(ValueError, match="at least 2 rows; received 1"):
        uniformity([[1.0, 2.0]])
    with pytest.raises(ValueError, match=r"the same shape; received \(2, 2\) and \(3, 2\)"):
        alignment(np.eye(2), np.ones((3, 2)))
