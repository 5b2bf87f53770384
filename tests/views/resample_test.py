import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageFilter
from scipy import ndimage

from cl_keras.views import resample

FORMS = pytest.mark.parametrize("matrices", [False, True])


def crop(images, box, flipped, size, matrices):
    """A box of each image, resized to a square, perhaps flipped left to right."""
    y, x, height, width = box
    rows = resample.plan(y, height, size, images.shape[1], matrices=matrices)
    columns = resample.plan(x, width, size, images.shape[2], flipped=flipped, matrices=matrices)
    return resample.resize(resample.resize(images, rows, 1), columns, 2)


def box(*numbers):
    return tuple(tf.constant([float(number)]) for number in numbers)


@FORMS
@pytest.mark.parametrize("where", [(2, 3, 5, 4), (0, 0, 12, 12), (1.25, 6.5, 10.5, 5.25)])
@pytest.mark.parametrize("size", [4, 12, 20])
def test_crop_and_resize_are_pillows(random, where, size, matrices):
    """Pillow's bilinear filter is the antialiased triangle; it rounds to whole levels."""
    y, x, height, width = where
    pixels = random.integers(0, 256, [12, 12, 3]).astype("uint8")
    expected = Image.fromarray(pixels).resize(
        [size, size], Image.Resampling.BILINEAR, box=(x, y, x + width, y + height)
    )
    received = crop(pixels[None], box(*where), tf.constant([False]), size, matrices)
    np.testing.assert_allclose(received[0], np.asarray(expected), atol=1.01)


@FORMS
def test_a_box_takes_its_own_pixels(matrices):
    """By hand: pixels 1.0 … 3.0 of [0, 10, 20, 30], enlarged twofold, and turned around."""
    pixels = np.array([0, 10, 20, 30], np.uint8).reshape(1, 1, 4, 1)
    line = crop(pixels, box(0, 1, 1, 2), tf.constant([False]), 4, matrices)[0, 0, :, 0]
    np.testing.assert_allclose(line, [7.5, 12.5, 17.5, 22.5], atol=1e-4)
    line = crop(pixels, box(0, 1, 1, 2), tf.constant([True]), 4, matrices)[0, 0, :, 0]
    np.testing.assert_allclose(line, [22.5, 17.5, 12.5, 7.5], atol=1e-4)


def test_both_forms_of_a_crop_are_one(random):
    pixels = random.integers(0, 256, [5, 30, 41, 2]).astype("uint8")
    height, width = random.uniform(1, 30, 5), random.uniform(1, 41, 5)
    where = (random.uniform(0, 30 - height), random.uniform(0, 41 - width), height, width)
    where = [tf.constant(number, tf.float32) for number in where]
    flipped = tf.constant([True, False, True, False, True])
    banded, full = (crop(pixels, where, flipped, 9, form) for form in (False, True))
    np.testing.assert_allclose(banded, full, atol=2e-3)


def test_images_far_larger_than_the_view_use_matrices(random):
    pixels = random.integers(0, 256, [1, 90, 90, 1]).astype("uint8")
    assert 2 * 90 / 8 > resample.MAX_TAPS
    received = crop(pixels, box(0, 0, 90, 90), tf.constant([False]), 8, False)
    expected = tf.image.resize(pixels, [8, 8], antialias=True)
    np.testing.assert_allclose(received, expected, atol=1e-2)


@FORMS
@pytest.mark.parametrize("radius", [0, 3, 8])
def test_blur_is_the_gaussian_with_its_edges_continued(random, matrices, radius):
    images = random.uniform(0, 255, [2, 10, 10, 3]).astype("float32")
    weights = resample.blur_weights(tf.constant([1.3, 0.0]), radius)
    received = images
    for axis in (1, 2):
        received = resample.blur(received, weights, axis, matrices)
    expected = ndimage.gaussian_filter(
        images[0].astype(float), [1.3, 1.3, 0], mode="nearest", radius=[radius, radius, 0]
    )
    np.testing.assert_allclose(received[0], expected, atol=1e-3)
    np.testing.assert_allclose(received[1], images[1], atol=1e-3)


def test_a_blur_wide_enough_is_pillows(random):
    """Pillow's is three box filters in place of the Gaussian."""
    coarse = random.integers(0, 256, [1, 8, 8, 3]).astype("float32")
    pixels = tf.image.resize(coarse, [48, 48]).numpy().astype("uint8")
    for sigma in (0.5, 1.0, 2.0):
        expected = Image.fromarray(pixels[0]).filter(ImageFilter.GaussianBlur(sigma))
        radius = resample.blur_radius(48, 2.0, None)
        received = tf.constant(pixels, tf.float32)
        for axis in (1, 2):
            weights = resample.blur_weights(tf.constant([sigma]), radius)
            received = resample.blur(received, weights, axis, matrices=False)
        difference = np.abs(received[0].numpy() - np.asarray(expected))
        assert difference.max() < 3.5 and difference.mean() < 0.6


def test_the_radius_is_that_of_the_authors():
    assert resample.blur_radius(224, 2.0, None) == 8
    assert resample.blur_radius(96, 2.0, 0.1) == 4  # SimCLR: a kernel of 96 // 10, made odd
    assert resample.blur_radius(224, 2.0, 0.1) == 8  # of SimCLR's 11, beyond 8 less than 1e-4
    assert resample.blur_radius(6, 2.0, None) == 5
