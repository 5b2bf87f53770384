"""The order of an epoch is a pure function and a fair permutation, and never changes."""

import numpy as np
import pytest
import tensorflow as tf

from cl_keras.data.order import as_int, order


def test_is_a_permutation_that_differs_by_seed_epoch_and_part():
    drawn = [order(0, 0, 100), order(1, 0, 100), order(0, 1, 100), order(0, 0, 100, block=0)]
    drawn.append(order(0, 0, 100, block=1))
    for one in drawn:
        assert sorted(one.numpy()) == list(range(100))
    assert len({tuple(one.numpy()) for one in drawn}) == len(drawn)


def test_never_changes():
    # A run is resumed with a newer TensorFlow: this fails if its permutations have changed.
    assert order(0, 1, 10).numpy().tolist() == [9, 0, 2, 6, 3, 4, 1, 5, 7, 8]


def test_is_the_same_in_a_graph_and_whatever_the_global_seed():
    expected = order(7, 3, 50).numpy()
    tf.random.set_seed(123)
    np.testing.assert_array_equal(order(7, 3, 50), expected)
    np.testing.assert_array_equal(tf.function(order)(7, tf.constant(3, tf.int64), 50), expected)
    mapped = tf.data.Dataset.range(3, 4).map(lambda epoch: order(7, epoch, 50))
    np.testing.assert_array_equal(mapped.get_single_element(), expected)


def test_every_index_reaches_every_position_equally_often():
    count = np.zeros([4, 4])
    draw = tf.function(lambda epoch: order(5, epoch, 4))
    for epoch in tf.range(1000, dtype=tf.int64):
        count[np.arange(4), draw(epoch).numpy()] += 1
    # 250 expected in each cell, standard deviation 13.7
    assert np.abs(count - 250).max() < 5 * 13.7


@pytest.mark.parametrize("value", [np.int32(5), np.int64(5), 5])
def test_as_int_takes_every_integer(value):
    assert as_int(value, "seed") == 5 and type(as_int(value, "seed")) is int


@pytest.mark.parametrize("value", [5.0, "5", None, True, [5]])
def test_as_int_refuses_other_values(value):
    with pytest.raises(TypeError, match="seed must be an int; received"):
        as_int(value, "seed")


def test_as_int_refuses_what_is_too_small_or_too_large():
    with pytest.raises(ValueError, match="epoch must be an int of at least 0; received -1"):
        as_int(-1, "epoch", at_least=0)
    with pytest.raises(ValueError, match="64 bits"):
        as_int(2**63, "seed")
