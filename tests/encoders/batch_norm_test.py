import keras
import numpy as np
import pytest
import tensorflow as tf

from cl_keras import distribute, encoders
from cl_keras.encoders import batch_norm

SHAPES = {"vectors": [8, 3], "images": [4, 3, 5, 3]}
forms = pytest.mark.parametrize("use_xla", [False, True])


class KerasBlock(keras.layers.Layer):
    """The same block built from Keras' own layers."""

    def __init__(self, activation, synchronized=False):
        super().__init__()
        self.norm = keras.layers.BatchNormalization(
            momentum=0.9, epsilon=1e-5, synchronized=synchronized
        )
        self.activation = activation
        self.moving = self.norm

    def build(self, input_shape, residual_shape=None):
        self.norm.build(input_shape)

    def call(self, x, residual=None, training=None):
        y = self.norm(x, training=training)
        y = y if residual is None else y + residual
        return tf.nn.relu(y) if self.activation else y


def filled(layer, shape):
    layer.build(shape)
    norm = getattr(layer, "norm", layer)
    norm.gamma.assign(np.linspace(0.5, 2, shape[-1]))
    norm.beta.assign(np.linspace(-0.4, 0.3, shape[-1]))
    norm.moving_mean.assign(np.linspace(-1, 1, shape[-1]))
    norm.moving_variance.assign(np.linspace(0.5, 3, shape[-1]))
    return layer


def outcome(layer, x, residual, weights, training=True):
    """Output, all gradients, and the moving statistics afterwards."""
    norm = getattr(layer, "norm", layer)
    given = [t for t in (x, residual) if t is not None]
    with tf.GradientTape() as tape:
        tape.watch(given)
        y = layer(*given, training=training)
        loss = tf.reduce_sum(tf.sin(y) * weights)
    gradients = tape.gradient(loss, [*given, norm.gamma.value, norm.beta.value])
    return [y, *gradients, norm.moving_mean.value, norm.moving_variance.value]


def assert_all_close(received, expected, tolerance):
    for a, b in zip(received, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


def drawn(random, shape, dtype="float64"):
    x, residual, weights = (tf.constant(random.normal(size=shape), dtype) for _ in range(3))
    return 2.0 + 3.0 * x, residual, weights


@forms
@pytest.mark.parametrize("activation", [None, "relu"])
@pytest.mark.parametrize("adds", [False, True])
@pytest.mark.parametrize("kind", SHAPES)
def test_it_equals_keras_in_value_gradient_and_statistics(
    random, float64, monkeypatch, kind, adds, activation, use_xla
):
    monkeypatch.setattr(batch_norm, "USE_XLA", use_xla)
    x, residual, weights = drawn(random, SHAPES[kind])
    residual = residual if adds else None
    ours = filled(encoders.BatchNormalization(activation=activation), x.shape)
    keras_own = filled(KerasBlock(activation), x.shape)
    received, expected = (outcome(layer, x, residual, weights) for layer in (ours, keras_own))
    assert_all_close(received, expected, 1e-10)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("use_xla", [None, True])
def test_it_equals_keras_in_single_precision(random, monkeypatch, training, use_xla):
    """None: TensorFlow's kernel, without a GPU."""
    monkeypatch.setattr(batch_norm, "USE_XLA", use_xla)
    x, residual, weights = drawn(random, [4, 5, 5, 6], "float32")
    layers = [encoders.BatchNormalization(activation="relu"), KerasBlock("relu")]
    received, expected = (
        outcome(filled(layer, x.shape), x, residual, weights, training) for layer in layers
    )
    assert_all_close(received, expected, 1e-4)


@forms
def test_replicas_normalize_by_the_global_batch(random, float64, mirrored, monkeypatch, use_xla):
    """Two replicas, against Keras' own layer on one device with all rows."""
    monkeypatch.setattr(batch_norm, "USE_XLA", use_xla)
    x, residual, weights = drawn(random, [8, 3, 3, 2])
    expected = outcome(filled(KerasBlock("relu"), x.shape), x, residual, weights)
    with mirrored.scope():
        layer = filled(encoders.BatchNormalization(activation="relu"), x.shape)

    @tf.function
    def step():
        def one():
            rows = 4 * tf.distribute.get_replica_context().replica_id_in_sync_group
            own = [t[rows : rows + 4] for t in (x, residual, weights)]
            y, dx, d_residual, d_gamma, d_beta, *moving = outcome(layer, *own)
            by_row = [distribute.gather(t) for t in (y, dx, d_residual)]
            return [*by_row, *distribute.sum_over_replicas([d_gamma, d_beta])]

        return mirrored.run(one)

    for replica in range(2):
        received = [mirrored.experimental_local_results(t)[replica] for t in step()]
        moving = [layer.moving_mean.numpy(), layer.moving_variance.numpy()]
        assert_all_close(received, expected[:5], 1e-10)
        if replica == 0:  # the next call moves them once more
            assert_all_close(moving, expected[5:], 1e-10)


def test_a_mean_far_from_the_moving_mean_costs_few_digits(random):
    x = random.normal(size=[64, 4]) + 300.0
    layer = encoders.BatchNormalization(momentum=0.0)
    layer(tf.constant(x, "float32"), training=True)
    np.testing.assert_allclose(layer.moving_variance, x.var(axis=0), rtol=0.1)
    layer(tf.constant(x, "float32"), training=True)
    np.testing.assert_allclose(layer.moving_variance, x.var(axis=0), rtol=1e-5)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"], indirect=True)
def test_the_graph_of_a_gpu_keeps_images_in_nhwc_and_half_precision(policy, monkeypatch):
    """No transposition to NCHW and no float32 map, forward or backward, outside XLA clusters.

    Only the pixels, and the last map while it is averaged, are float32.
    """
    monkeypatch.setattr(batch_norm, "USE_XLA", True)
    encoder = encoders.small_resnet(image_size=16, channels=3, width=0.25)

    @tf.function(input_signature=[tf.TensorSpec([4, 16, 16, 3], "uint8")])
    def step(images):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(tf.cast(encoder(images, training=True), "float32"))
        return tape.gradient(loss, encoder.trainable_variables)

    operations = step.get_concrete_function().graph.get_operations()
    types = [op.type for op in operations]
    norms = sum(isinstance(x, encoders.BatchNormalization) for x in encoder.layers)
    assert norms == 9 and sum("PartitionedCall" in kind for kind in types) == 4 * norms
    assert not {"FusedBatchNormV3", "FusedBatchNormGradV3", "Transpose"} & set(types)
    convolutions = [op for op in operations if op.type.startswith("Conv2D")]
    assert {op.get_attr("data_format") for op in convolutions} == {b"NHWC"}
    maps = [
        out
        for op in operations
        for out in op.outputs
        if out.shape.rank == 4 and out.shape[0] == 4 and op.type != "Placeholder"
    ]
    half = tf.as_dtype(encoder.compute_dtype)
    wide = [out.name for out in maps if out.dtype != half and out.shape[-1] > 3]
    assert len(maps) > 50 and all("/pool" in name for name in wide)


def test_frozen_normalization_does_not_move(random):
    layer = encoders.BatchNormalization()
    layer.build([None, 4, 4, 2])
    layer.trainable = False
    x = random.normal(5.0, 1.0, [3, 4, 4, 2]).astype("float32")
    np.testing.assert_allclose(layer(x, training=True), x / np.sqrt(1 + 1e-5), atol=1e-5)
    np.testing.assert_array_equal(layer.moving_mean, [0, 0])


@forms
def test_statistics_per_call(random, float64, monkeypatch, use_xla):
    """Each call uses its own rows; the moving statistics take the mean of both, once."""
    monkeypatch.setattr(batch_norm, "USE_XLA", use_xla)
    groups = random.normal(size=[2, 5, 3, 3, 2]) + [[[[[1.0, 2.0]]]]]
    layer = encoders.BatchNormalization()
    with batch_norm.statistics_per_call():
        for group in groups:
            y = layer(tf.constant(group), training=True).numpy()
            np.testing.assert_allclose(y.mean(axis=(0, 1, 2)), 0, atol=1e-12)
    means = groups.mean(axis=(1, 2, 3)).mean(axis=0)
    np.testing.assert_allclose(layer.moving_mean, 0.1 * means, rtol=1e-12)
    variances = groups.var(axis=(1, 2, 3)).mean(axis=0)
    np.testing.assert_allclose(layer.moving_variance, 0.9 + 0.1 * variances, rtol=1e-12)


def test_without_scale_and_offset_and_through_its_config(random, float64):
    layer = encoders.BatchNormalization(
        center=False, scale=False, momentum=0.5, epsilon=1e-3, activation="relu", name="n"
    )
    again = encoders.BatchNormalization.from_config(layer.get_config())
    x = random.normal(size=[6, 3])
    expected = np.maximum((x - x.mean(0)) / np.sqrt(x.var(0) + 1e-3), 0)
    for each in (layer, again):
        np.testing.assert_allclose(each(tf.constant(x), training=True), expected, atol=1e-12)
        assert [v.name for v in each.variables] == ["moving_mean", "moving_variance"]
    assert again.get_config() == layer.get_config()


def test_another_activation_is_refused():
    with pytest.raises(ValueError, match="'relu' or None; received 'gelu'"):
        encoders.BatchNormalization(activation="gelu")
