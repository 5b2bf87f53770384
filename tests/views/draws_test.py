import numpy as np
import pytest
import tensorflow as tf

from cl_keras.views.draws import uniform


@pytest.mark.parametrize("columns", [1, 4, 31, 62])
@pytest.mark.parametrize("seed, step", [(0, 0), (1, 7), (-5, 2**31 - 1), (3 << 32, 12)])
def test_draws_are_tensorflows_philox_of_the_whole_batch(seed, step, columns):
    block = tf.random.stateless_uniform([9, columns], [seed, step], alg="philox")
    for first, rows in ((0, 9), (3, 5), (8, 1)):
        received = uniform(seed, step, first, rows, columns)
        np.testing.assert_array_equal(received, block[first : first + rows])


@pytest.mark.parametrize("seed", [4, -4, 4 + (3 << 32)])
def test_draws_are_the_same_if_xla_compiles_the_step(seed):
    @tf.function(jit_compile=True)
    def compiled(step, first_row):
        return uniform(seed, step, first_row, 6, 31)

    received = compiled(tf.constant(9, tf.int64), tf.constant(3))
    np.testing.assert_array_equal(received, uniform(seed, 9, 3, 6, 31))
