"""All keys are known, all values are possible."""

import numpy as np
import pytest

from cl_keras.zoo.imports import checks

EXPECTED = {"a": (2, 3), "b": (3,)}


def check(found):
    checks.check_keys(EXPECTED, found, (r"head\.", r".*\.steps$"), "some")


def test_expected_and_deliberately_ignored_keys_are_accepted():
    check({"a": [2, 3], "b": [3], "head.c": [1], "c.steps": []})


@pytest.mark.parametrize(
    "found, complaint",
    [
        ({"a": (2, 3)}, "'some' must have 'b'"),
        ({}, "'some' must have 'a', 'b'"),
        ({"a": (2, 3), "b": (3,), "c": (1,)}, "'some' must not have 'c'"),
        ({"a": (3, 2), "b": (3,)}, r"'a' must have the shape \[2, 3\]; received \[3, 2\]"),
        ({"a": (2, 3), "b": (3, 1)}, r"'b' must have the shape \[3\]; received \[3, 1\]"),
    ],
)
def test_all_other_keys_are_named(found, complaint):
    with pytest.raises(ValueError, match=complaint):
        check(found)


def test_a_long_list_of_keys_is_cut_short():
    surplus = {f"c{i:02d}": (1,) for i in range(30)}
    with pytest.raises(ValueError, match="'c07' and 22 more,"):
        check({"a": (2, 3), "b": (3,), **surplus})


def test_numbers_become_float32():
    for dtype in ("float16", "float32", "float64"):
        found = checks.check_values("a", np.array([0.5, -2.0], dtype))
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, [0.5, -2.0])


@pytest.mark.parametrize(
    "key, array, complaint",
    [
        ("a", [1, 2], "'a' must hold floating-point numbers; received int64"),
        ("a", [1.0, np.nan], "'a' must hold finite float32 numbers"),
        ("a", [1.0, 1e39], "'a' must hold finite float32 numbers"),
        ("x.running_var", [1.0, -1e-9], "must hold variances"),
        ("x/moving_variance", [-1.0], "must hold variances"),
    ],
)
def test_numbers_that_no_network_has_are_refused(key, array, complaint):
    with pytest.raises(ValueError, match=complaint):
        checks.check_values(key, np.array(array))
