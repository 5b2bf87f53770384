import keras
import numpy as np
import pytest
import tensorflow as tf

from cl_keras import distribute
from cl_keras.losses.noise_contrastive import noise_contrastive
from cl_keras.negatives.partition import (
    RunningPartition,
    log_partitions,
    mean_log_partition,
)

N, K, TAU = 50, 7, 0.3


def nce_by_hand(scores, z, tau, num_images):
    """Wu et al. 2018, equations 6 and 7, literally."""
    losses = []
    for own, *noise in scores:
        count = len(noise)
        probability = np.exp(own / tau) / z
        loss = -np.log(probability / (probability + count / num_images))
        for other in noise:
            probability = np.exp(other / tau) / z
            loss -= np.log(1 - probability / (probability + count / num_images))
        losses.append(loss)
    return np.array(losses)


def losses_with(partition, scores):
    log_z = partition.log_z_for(lambda: partition.estimates(scores))
    return noise_contrastive(scores, log_z, temperature=TAU, num_images=N).losses


@pytest.fixture
def scores(random):
    return random.uniform(-1, 1, [5, 1 + K])


def test_the_value_is_the_papers(scores):
    received, hits, _ = noise_contrastive(scores, np.log(80.0), temperature=TAU, num_images=N)
    np.testing.assert_array_equal(hits, scores.argmax(axis=1) == 0)
    np.testing.assert_allclose(received, nce_by_hand(scores, 80.0, TAU, N), rtol=0, atol=1e-10)


def test_the_gradient_is_the_papers(scores):
    """∂L/∂s = (h - 1)/τ for the image itself, h/τ for noise."""
    tensor = tf.constant(scores)
    with tf.GradientTape() as tape:
        tape.watch(tensor)
        loss = noise_contrastive(tensor, np.log(80.0), temperature=TAU, num_images=N).losses
    probability = np.exp(scores / TAU) / 80.0
    h = probability / (probability + K / N)
    h[:, 0] -= 1
    np.testing.assert_allclose(tape.gradient(loss, tensor), h / TAU, rtol=0, atol=1e-10)


def test_equal_scores_have_a_closed_form():
    """P = 1/N makes h = 1/(1 + K), whatever the scores, the temperature and N."""
    scores = tf.fill([3, 1 + K], tf.constant(0.4, tf.float64))
    log_z = np.log(N) + 0.4 / TAU
    received = noise_contrastive(scores, log_z, temperature=TAU, num_images=N).losses
    expected = np.log(1 + K) - K * np.log(K / (1 + K))
    np.testing.assert_allclose(received, [expected] * 3, rtol=0, atol=1e-10)


@pytest.mark.parametrize("tau", [0.005, 1e-3])
def test_a_low_temperature_does_not_overflow(random, tau):
    """exp(1/τ) is beyond float32; the loss is linear in the scores there."""
    scores = np.array([[1.0, -1.0, 0.5, 1.0], [-1.0, 1.0, -1.0, -0.5]], np.float32)
    tensor = tf.constant(scores)
    with tf.GradientTape() as tape:
        tape.watch(tensor)
        log_z = mean_log_partition(log_partitions(tensor, temperature=tau, num_images=1_280_000))
        loss = noise_contrastive(tensor, log_z, temperature=tau, num_images=1_280_000).losses
    noise = scores[:, 1:].astype(np.float64) / tau
    log_z = np.log(1_280_000 / 6) + np.logaddexp.reduce(noise.ravel())
    odds = scores.astype(np.float64) / tau - log_z - np.log(3 / 1_280_000)
    expected = np.logaddexp(0, -odds[:, 0]) + np.logaddexp(0, odds[:, 1:]).sum(axis=1)
    np.testing.assert_allclose(loss, expected, rtol=1e-5)
    assert np.isfinite(tape.gradient(loss, tensor)).all()


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_is_computed_in_float32(scores, dtype):
    halves = tf.cast(scores, dtype)
    received = noise_contrastive(halves, np.log(80.0), temperature=TAU, num_images=N).losses
    assert received.dtype == tf.float32
    expected = nce_by_hand(tf.cast(halves, tf.float64).numpy(), 80.0, TAU, N)
    np.testing.assert_allclose(received, expected, rtol=1e-5)


def test_z_is_estimated_from_noise_alone(scores):
    each = log_partitions(scores, temperature=TAU, num_images=N)
    expected = np.log(N * np.exp(scores[:, 1:] / TAU).mean(axis=1))
    np.testing.assert_allclose(each, expected, rtol=0, atol=1e-12)
    received = mean_log_partition(each)
    expected = np.log(N * np.exp(scores[:, 1:] / TAU).mean())
    np.testing.assert_allclose(received, expected, rtol=0, atol=1e-12)


def test_with_every_image_once_as_noise_z_is_the_sum_over_all(random):
    every = random.uniform(-1, 1, [1, N])
    scores = np.concatenate([every[:, 3:4], every], axis=1)
    received = log_partitions(scores, temperature=TAU, num_images=N)
    np.testing.assert_allclose(np.exp(received), [np.exp(every / TAU).sum()], rtol=1e-12)


def test_z_is_a_running_average_that_starts_with_the_first_batch(random, float64):
    partition = RunningPartition(N, temperature=TAU, decay=0.9)
    batches = random.uniform(-1, 1, [5, 4, 1 + K])
    z = None
    for batch in batches:
        partition.update(partition.estimates(tf.constant(batch)))
        new = N * np.exp(batch[:, 1:] / TAU).mean()
        z = new if z is None else 0.9 * z + 0.1 * new
        np.testing.assert_allclose(np.exp(partition.log_z), z, rtol=1e-12)
    assert int(partition.batches) == 5
    received = losses_with(partition, tf.constant(batches[0]))
    np.testing.assert_allclose(received, nce_by_hand(batches[0], z, TAU, N), rtol=0, atol=1e-10)


def test_before_training_a_batch_uses_its_own_z_and_keeps_nothing(scores, float64):
    partition = RunningPartition(N, temperature=TAU)
    z = N * np.exp(scores[:, 1:] / TAU).mean()
    received = losses_with(partition, tf.constant(scores))
    np.testing.assert_allclose(received, nce_by_hand(scores, z, TAU, N), rtol=0, atol=1e-10)
    assert int(partition.batches) == 0 and float(partition.log_z) == 0


def test_two_replicas_share_the_z_of_the_global_batch(random, float64, mirrored):
    batch = random.uniform(-1, 1, [6, 1 + K])
    with mirrored.scope():
        partition = RunningPartition(N, temperature=TAU)

    @tf.function
    def step():
        local = tf.gather(tf.constant(batch), distribute.first_row(3) + tf.range(3))
        partition.update(partition.estimates(local))
        return losses_with(partition, local)

    losses = tf.concat(mirrored.run(step).values, axis=0)
    z = N * np.exp(batch[:, 1:] / TAU).mean()
    np.testing.assert_allclose(losses, nce_by_hand(batch, z, TAU, N), rtol=0, atol=1e-10)
    copies = partition.log_z.value.values
    np.testing.assert_array_equal(copies[0], copies[1])
    np.testing.assert_allclose(copies[0], np.log(z), rtol=0, atol=1e-12)


def test_misuse_gets_a_clear_error(scores):
    with pytest.raises(ValueError, match="K ≥ 1 .* received shape .5, 1."):
        noise_contrastive(scores[:, :1], 0.0, temperature=TAU, num_images=N)
    with pytest.raises(ValueError, match="temperature must be a number above 0"):
        noise_contrastive(scores, 0.0, temperature=0, num_images=N)
    with pytest.raises(ValueError, match=r"decay must lie in \[0, 1\); received 1"):
        RunningPartition(N, temperature=TAU, decay=1)


def test_it_survives_its_config():
    partition = RunningPartition(N, temperature=TAU, decay=0.5)
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(partition))
    assert again.get_config() == partition.get_config()
