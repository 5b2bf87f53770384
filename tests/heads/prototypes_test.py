import keras
import numpy as np
import pytest
import tensorflow as tf

from cl_keras.heads.prototypes import Prototypes
from cl_keras.optimizers import LARS


def unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def test_scores_are_cosines(random, float64):
    layer = Prototypes(5, 7, seed=3)
    z = random.normal(size=[4, 5])
    rows = layer.rows.numpy()
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), np.ones(7), rtol=1e-12)
    for training in (False, True):
        np.testing.assert_allclose(layer(z, training=training), unit(z) @ rows.T, atol=1e-12)


def test_rows_off_the_sphere_are_normalized_or_used_as_if_they_were(random, float64):
    layer = Prototypes(5, 7)
    rows, z = random.normal(size=[7, 5]), random.normal(size=[4, 5])
    layer.rows.assign(rows)
    np.testing.assert_allclose(layer(z), unit(z) @ unit(rows).T, rtol=0, atol=1e-12)
    np.testing.assert_array_equal(layer.rows, rows)
    layer.normalize_rows()
    np.testing.assert_allclose(layer.rows, unit(rows), rtol=0, atol=1e-12)


def test_the_seed_determines_the_initial_prototypes():
    rows = [Prototypes(5, 7, seed=seed).rows.numpy() for seed in (1, 1, 2)]
    np.testing.assert_array_equal(rows[0], rows[1])
    assert np.abs(rows[0] - rows[2]).max() > 0.1


OPTIMIZERS = {
    "sgd": lambda: keras.optimizers.SGD(0.1, momentum=0.9, weight_decay=0.1),
    "adamw": lambda: keras.optimizers.AdamW(0.1, weight_decay=0.1),
    "lars": lambda: LARS(0.1, momentum=0.9, weight_decay=0.1),
    "lamb": lambda: keras.optimizers.Lamb(0.1, weight_decay=0.1),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_frozen_rows_stay_with_any_optimizer(random, name):
    """Three frozen steps, then one that moves them."""
    layer, optimizer = Prototypes(5, 7, frozen_steps=3), OPTIMIZERS[name]()
    optimizer.build([layer.rows])
    start = layer.rows.numpy()
    z = tf.constant(random.normal(size=[4, 5]).astype("float32"))

    @tf.function
    def train(step):
        layer.normalize_rows()
        with tf.GradientTape() as tape:
            loss = -tf.reduce_mean(layer(z, step=step, training=True)[:, 0])
        slopes = tape.gradient(loss, [layer.rows.value])
        optimizer.apply(slopes, [layer.rows])
        layer.normalize_rows()
        return slopes[0]

    layer.normalize_rows()
    held = layer.rows.numpy()
    np.testing.assert_allclose(held, start, rtol=1e-6)
    for step in range(3):
        assert np.abs(train(tf.constant(step, tf.int64))).max() == 0
        np.testing.assert_allclose(layer.rows, held, rtol=0, atol=2e-7)
    assert np.abs(train(tf.constant(3, tf.int64))).max() > 0
    assert np.abs(layer.rows.numpy() - held).max() > 1e-5


def test_half_precision_projections_are_normalized_in_float32(random):
    layer = Prototypes(5, 7, dtype="mixed_float16")
    z = tf.constant(300 * random.normal(size=[4, 5]), tf.float16)  # squares overflow
    scores = layer(z)
    assert scores.dtype == tf.float32 and layer.rows.dtype == "float32"
    np.testing.assert_allclose(
        scores, unit(z.numpy().astype(float)) @ layer.rows.numpy().T, atol=1e-6
    )


def test_it_survives_its_config():
    layer = Prototypes(5, 7, frozen_steps=2, seed=3)
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert again.get_config() == layer.get_config()


def test_no_prototypes_are_refused():
    with pytest.raises(ValueError, match="count must be at least 1; received 0"):
        Prototypes(5, 0)
