"""Micro-batches equal the whole batch, for methods without negatives from the batch."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.conformance.descriptors import IMAGES, OPTIONS, make
from tests.quick import slow_but
from tests.tiny import tiny_simclr

FROM_ELSEWHERE = ["InstDisc", "InstDisc, softmax", "PIRL", "MoCo", "DeepCluster", "PCL"]


def linear_encoder():
    """Nothing in it depends on the other images of the batch."""
    pixels = keras.Input([None, None, 1])
    x = keras.layers.Conv2D(16, 3, activation="relu")(keras.layers.Rescaling(1 / 256)(pixels))
    return keras.Model(pixels, keras.layers.GlobalAveragePooling2D()(x), name="plain")


@pytest.fixture(scope="module")
def batches():
    coarse = np.random.default_rng(0).integers(0, 256, [IMAGES, 4, 4, 1]).astype("float32")
    images = tf.image.resize(coarse, [12, 12]).numpy().astype("uint8")
    pairs = {"image": images, "index": np.arange(IMAGES)}
    return tf.data.Dataset.from_tensor_slices(pairs).batch(16, drop_remainder=True).take(3)


def train(name, batches, **options):
    """Losses of three epochs of three steps, and all state, without batch normalization."""
    if "DeepCluster" in name:
        options["head"] = "linear"
    model = make(name, encoder=linear_encoder, **options)
    if getattr(model, "partition", None):  # the first batch would set Z, each part its own
        model.partition.log_z.assign(4.0)
        model.partition.batches.assign(1)
    losses = model.fit(batches, epochs=3, verbose=0).history["loss"]
    return losses, [v for v in [*model.variables, *model.optimizer.variables]]


@pytest.mark.parametrize("name", slow_but(["InstDisc", "MoCo"], FROM_ELSEWHERE))
def test_micro_batches_equal_the_whole_batch(name, batches, float64):
    whole_losses, whole = train(name, batches)
    losses, parts = train(name, batches, gradient_accumulation=4)
    atol = 1e-9
    np.testing.assert_allclose(losses, whole_losses, rtol=0, atol=atol)
    for received, expected in zip(parts, whole, strict=True):
        np.testing.assert_allclose(received, expected, rtol=0, atol=atol, err_msg=expected.path)


def test_micro_batches_on_two_devices_equal_those_on_one(batches, float64, mirrored):
    losses, one = train("InstDisc", batches, gradient_accumulation=2)
    with mirrored.scope():
        shared, two = train("InstDisc", batches, gradient_accumulation=2)
    np.testing.assert_allclose(shared, losses, rtol=0, atol=1e-9)
    for received, expected in zip(two, one, strict=True):
        np.testing.assert_allclose(received, expected, rtol=0, atol=1e-9, err_msg=expected.path)


def test_every_method_is_named():
    in_batch = {"SimCLR", "MoCoV3", "SwAV"}
    assert set(FROM_ELSEWHERE) | in_batch <= set(OPTIONS)


def test_groups_that_do_not_divide_the_batch_are_refused(images):
    model = tiny_simclr(gradient_accumulation=3)
    with pytest.raises(ValueError, match="gradient_accumulation=3 .* divisible by 3; received 16"):
        model.fit(images, batch_size=16, verbose=0)
    with pytest.raises(ValueError, match="at least 1, .* received 0"):
        tiny_simclr(gradient_accumulation=0)
