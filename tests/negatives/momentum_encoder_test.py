import keras
import numpy as np
import pytest
import tensorflow as tf

from cl_keras import heads
from cl_keras.negatives import MomentumEncoder
from tests.tiny import tiny_encoder


def pair(**options):
    encoder, head = tiny_encoder(), heads.mlp(16, output_dim=4)
    return encoder, head, MomentumEncoder(encoder, head, **options)


def is_statistic(variable):
    return "moving_" in variable.path


def test_parameters_follow_and_statistics_do_not(random, float64):
    encoder, head, copy = pair(momentum=0.9)
    followed = [*encoder.variables, *head.variables]
    own = [*copy.encoder.variables, *copy.head.variables]
    expected = [v.numpy() for v in own]
    for step in range(5):
        for variable in followed:
            variable.assign(random.normal(size=variable.shape))
        copy.follow(step)
        for i, variable in enumerate(followed):
            if not is_statistic(variable):
                expected[i] = 0.9 * expected[i] + 0.1 * variable.numpy()
    assert sum(map(is_statistic, own)) == 8
    for received, wanted in zip(own, expected, strict=True):
        np.testing.assert_allclose(received, wanted, rtol=0, atol=1e-12)


def test_its_statistics_are_those_of_its_own_batches(images, float64):
    encoder, _, copy = pair()
    before = [v.numpy() for v in encoder.variables]
    reference = keras.models.clone_model(encoder)
    reference.set_weights(encoder.get_weights())
    copy(images, training=True)
    reference(images, training=True)
    for received, wanted in zip(copy.encoder.variables, reference.variables, strict=True):
        np.testing.assert_allclose(received, wanted, atol=1e-12)
    for received, wanted in zip(encoder.variables, before, strict=True):
        np.testing.assert_array_equal(received, wanted)


def test_none_of_its_variables_is_trained_and_no_gradient_passes(images):
    _, _, copy = pair()
    assert copy.trainable_variables == [] and copy.encoder.trainable
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(copy(images, training=True))
    variables = [v.value for v in [*copy.encoder.variables, *copy.head.variables]]
    assert tape.gradient(loss, variables) == [None] * len(variables)


def test_keys_are_normalized_within_their_group(images, float64):
    _, _, copy = pair(groups=4, seed=3)
    keys = copy(images, step=5, training=True).numpy()
    order = copy._order(32, 5).numpy()
    assert sorted(order) == list(range(32)) and list(order) != list(range(32))
    for part in order.reshape(4, 8):
        features = copy.encoder(images[part], training=True)
        np.testing.assert_allclose(keys[part], copy.head(features), atol=1e-10)
    assert (copy._order(32, 5).numpy() == order).all()
    assert (copy._order(32, 6).numpy() != order).any()


def test_the_moving_statistics_take_the_mean_over_groups_once(images, float64):
    _, _, copy = pair(groups=4, seed=3)
    alone = []
    for part in copy._order(32, 5).numpy().reshape(4, 8):
        model = keras.models.clone_model(copy.encoder)
        model.set_weights(copy.encoder.get_weights())
        model(images[part], training=True)
        alone.append([v.numpy() for v in model.variables])
    copy(images, step=5, training=True)
    for received, *parts in zip(copy.encoder.variables, *alone, strict=True):
        np.testing.assert_allclose(received, np.mean(parts, axis=0), rtol=0, atol=1e-12)


def test_the_groups_of_two_replicas_are_those_of_one(images, float64, mirrored):
    """Each group has images of both replicas; the keys return to the replica of their image."""
    images = images.astype("float64")
    _, _, one = pair(groups=4, seed=3)
    before = [v.numpy() for v in one.variables]
    expected = one(images, step=5, training=True)
    with mirrored.scope():
        _, _, two = pair(groups=4, seed=3)
        for variable, value in zip(two.variables, before, strict=True):
            variable.assign(value)

    def local(context):
        return tf.split(tf.constant(images), 2)[context.replica_id_in_sync_group]

    values = mirrored.experimental_distribute_values_from_function(local)
    keys = mirrored.run(tf.function(lambda x: two(x, step=5, training=True)), args=[values])
    np.testing.assert_allclose(tf.concat(keys.values, 0), expected, rtol=0, atol=1e-12)
    for received, wanted in zip(two.variables, one.variables, strict=True):
        np.testing.assert_allclose(received, wanted, rtol=0, atol=1e-12)
        np.testing.assert_array_equal(*received.value.values)
    first_part = two._order(32, 5).numpy()[:8]
    assert 0 < (first_part < 16).sum() < 8


def test_in_inference_groups_make_no_difference(images):
    encoder, head, copy = pair(groups=4)
    np.testing.assert_allclose(copy(images), head(encoder(images)), atol=1e-6)


def test_the_momentum_rises_by_a_cosine():
    copy = pair(momentum=0.9, steps=100)[2]
    received = [float(copy.momentum_at(tf.constant(t, tf.int64))) for t in (0, 50, 75, 100, 200)]
    middle = 1 - 0.1 * (1 + np.cos(0.75 * np.pi)) / 2
    np.testing.assert_allclose(received, [0.9, 0.95, middle, 1.0, 1.0], atol=1e-12)
    assert pair(momentum=0.9)[2].momentum_at(7) == 0.9


@pytest.mark.parametrize("wrong", [{"momentum": 1.1}, {"momentum": -0.1}, {"groups": 0}])
def test_values_out_of_range_are_refused(wrong):
    with pytest.raises(ValueError, match="received"):
        pair(**wrong)
