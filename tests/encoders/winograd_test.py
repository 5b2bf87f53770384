"""Winograd's convolution is the plain one, in values and derivatives."""

import numpy as np
import pytest
import tensorflow as tf

from cl_keras import bounds, loops
from cl_keras.encoders import winograd, winograd_kernels

SHAPES = [(3, 8, 8, 64, 128), (2, 7, 9, 128, 64), (5, 4, 4, 64, 64), (2, 1, 3, 64, 64)]
"""Images, height, width, channels, features; also with tiles that reach beyond the image."""


def plain(images, kernel):
    return tf.nn.conv2d(images, kernel, 1, "SAME")


def drawn(count, height, width, channels, features):
    """Images, a kernel, and the gradient by the outputs, in float64."""
    random = np.random.default_rng(0)
    shapes = [(count, height, width, channels), (3, 3, channels, features)]
    shapes.append((count, height, width, features))
    return [tf.constant(random.standard_normal(shape)) for shape in shapes]


@tf.function
def outcome(convolve, images, kernel, d_outputs):
    """Outputs, and gradients by images and kernel."""
    with tf.GradientTape() as tape:
        tape.watch([images, kernel])
        outputs = convolve(images, kernel)
    return outputs, *tape.gradient(outputs, [images, kernel], d_outputs)


def relative_errors(received, expected):
    """Root of the mean squared error relative to the spread, and the largest."""
    for a, b in zip(received, expected, strict=True):
        assert a.shape == b.shape
        error = (np.float64(a) - np.float64(b)) / np.std(np.float64(b))
        yield np.sqrt(np.mean(error**2)), np.abs(error).max()


@pytest.mark.parametrize("shape", SHAPES)
def test_values_and_gradients_are_those_of_the_plain_sum(shape):
    exact = drawn(*shape)
    given = [tf.cast(each, tf.float32) for each in exact]
    errors = relative_errors(outcome(winograd.convolve, *given), outcome(plain, *exact))
    for mean, largest in errors:
        assert mean < 2e-6
        assert largest < 1e-5


@pytest.mark.parametrize("shape", SHAPES)
def test_in_bfloat16_it_rounds_no_more_than_the_plain_form(shape):
    rounded = [tf.cast(each, tf.bfloat16) for each in drawn(*shape)]
    exact = outcome(plain, *(tf.cast(each, tf.float64) for each in rounded))
    ours = relative_errors(outcome(winograd.convolve, *rounded), exact)
    for (mean, largest), (usual, most) in zip(
        ours, relative_errors(outcome(plain, *rounded), exact), strict=True
    ):
        assert mean < 1.01 * usual
        assert largest < 1.05 * most


def test_the_result_is_the_same_bit_for_bit_each_time():
    given = [tf.cast(each, tf.float32) for each in drawn(64, 8, 8, 64, 64)]
    first, second = (outcome(winograd.convolve, *given) for _ in range(2))
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a, b)


def test_large_batches_are_taken_in_parts(monkeypatch):
    given = [tf.cast(each, tf.float32) for each in drawn(7, 5, 5, 64, 64)]
    whole = outcome(winograd.convolve, *given)
    # Each part must hold at least an image, so there are seven, although more are asked for.
    for limit in (36 * 4 * 4 * 64 * 3, 1):
        monkeypatch.setattr(winograd, "MAX_BYTES", limit)
        parts = outcome(lambda *both: winograd.convolve(*both), *given)
        for _, largest in relative_errors(parts, whole):
            assert largest < 1e-5


def test_the_number_of_images_may_be_unknown():
    given = [tf.cast(each, tf.float32) for each in drawn(3, 4, 4, 64, 64)]
    signature = [tf.TensorSpec([None, 4, 4, 64]), tf.TensorSpec([3, 3, 64, 64])]
    convolve = tf.function(winograd.convolve, input_signature=signature)
    assert convolve.get_concrete_function().structured_outputs.shape.as_list() == [None, 4, 4, 64]
    np.testing.assert_array_equal(outcome(convolve, *given)[0], winograd.convolve(*given[:2]))
    assert convolve(given[0][:0], given[1]).shape == (0, 4, 4, 64)


@pytest.mark.parametrize("limit", [winograd.MAX_BYTES, 1])
def test_second_derivatives_are_those_of_the_plain_form(limit, monkeypatch):
    monkeypatch.setattr(winograd, "MAX_BYTES", limit)
    images, kernel, d_outputs = (tf.cast(each, tf.float32) for each in drawn(2, 4, 4, 64, 64))

    def second(convolve):
        with tf.GradientTape() as outer:
            outer.watch([images, kernel])
            with tf.GradientTape() as inner:
                inner.watch([images, kernel])
                loss = tf.reduce_sum(convolve(images, kernel) ** 3 * d_outputs) / 1e3
            first = inner.gradient(loss, [images, kernel])
            total = tf.reduce_sum(first[0] ** 2) + tf.reduce_sum(first[1] ** 2)
        return outer.gradient(total, [images, kernel])

    for mean, _ in relative_errors(second(winograd.convolve), second(plain)):
        assert mean < 1e-5


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_stays_so(bad):
    images, kernel, _ = (tf.cast(each, tf.float32) for each in drawn(2, 8, 8, 64, 64))
    images = tf.tensor_scatter_nd_update(images, [[0, 2, 2, 5]], [bad])
    finite = np.isfinite(winograd.convolve(images, kernel)).all(axis=-1)
    assert not finite[0, 1:4, 1:4].any()
    assert finite[1].all()


@pytest.mark.parametrize(
    "shape, features, expected",
    [
        ((256, 32, 32, 64), 64, True),
        ((256, 4, 4, 512), 512, True),
        ((None, 8, 8, 256), 256, True),
        ((8, 4, 4, 512), 512, False),  # transforming the kernel takes longer
        ((256, 2, 2, 512), 512, False),  # three fourths of a tile are beyond the image
        ((256, 7, 7, 64), 64, False),
        ((256, 32, 32, 96), 96, False),  # not a multiple of 64
        ((256, 32, 32, 3), 64, False),
        ((256, None, None, 64), 64, False),
    ],
)
def test_it_is_faster_for_many_tiles_and_channels(shape, features, expected):
    tf.function(
        lambda images: _assert_equal(winograd.is_faster(images, features), expected)
    ).get_concrete_function(tf.TensorSpec(shape))


def _assert_equal(received, expected):
    assert received == expected


def test_in_other_types_it_is_faster_less_often_or_never(monkeypatch):
    monkeypatch.setattr(bounds, "cpu_flags", lambda: {"avx512_bf16"})
    wide = tf.zeros([256, 4, 4, 512], tf.bfloat16)
    assert winograd.is_faster(wide, 512)
    assert not winograd.is_faster(tf.zeros([256, 16, 16, 128], tf.bfloat16), 128)
    assert not winograd.is_faster(tf.zeros([256, 4, 4, 512], tf.float64), 512)
    monkeypatch.setattr(bounds, "cpu_flags", lambda: {"amx_bf16"})
    assert not winograd.is_faster(wide, 512)
    monkeypatch.setattr(loops, "fit_here", lambda: False)
    assert not winograd.is_faster(tf.zeros([256, 4, 4, 512]), 512)


@pytest.mark.parametrize(
    "images, features",
    [
        (tf.zeros([2, 4, 4, 32]), 64),
        (tf.zeros([2, 4, 4, 64]), 65),
        (tf.zeros([2, 4, 4, 64], tf.float64), 64),
    ],
)
def test_what_it_cannot_take_is_refused(images, features):
    assert winograd.CHANNELS == winograd_kernels.CHANNELS
    kernel = tf.zeros([3, 3, images.shape[3], features], images.dtype)
    with pytest.raises(ValueError, match="multiples of 64; received"):
        winograd.convolve(images, kernel)
