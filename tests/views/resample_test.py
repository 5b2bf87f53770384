import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageFilter
from scipy import ndimage

from cl_keras import views
from cl_keras.views import on_cpu, resample

FORMS = pytest.mark.parametrize("form", ["matrices", "cpu"])


def crop(images, box, flipped, size, form):
    """A box of each image, resized to a square, perhaps flipped left to right."""
    y, x, height, width = box
    if form == "matrices":
        rows = resample.resize_weights(y, height, size, images.shape[1])
        columns = resample.resize_weights(x, width, size, images.shape[2], flipped)
        return resample.resize(resample.resize(images, rows, 1), columns, 2)
    none = tf.zeros_like(y)
    look = [none + 1.0] * 3 + [none] * 4
    drawn = tf.stack([*box, tf.cast(flipped, tf.float32), *look], axis=1)
    return on_cpu.make(tf.constant(images), drawn, views.View(size), cuts=True)


def blur(images, sigma, radius, form):
    """`sigma` of each image."""
    sigma = tf.constant(sigma, tf.float32)
    if form == "matrices":
        weights = resample.blur_weights(sigma, radius)
        return resample.blur(resample.blur(images, weights, 1), weights, 2)
    none, size = tf.zeros_like(sigma), images.shape[1]
    drawn = tf.stack([none] * 5 + [none + 1.0] * 3 + [none, none, sigma, none], axis=1)
    view = views.View(size, blur_sigma=(1, 99), blur_kernel=(2 * radius + 0.5) / size)
    return on_cpu.make(tf.constant(images), drawn, view, cuts=False)


def box(*numbers):
    return tuple(tf.constant([float(number)]) for number in numbers)


@FORMS
@pytest.mark.parametrize("where", [(2, 3, 5, 4), (0, 0, 12, 12), (1.25, 6.5, 10.5, 5.25)])
@pytest.mark.parametrize("size", [4, 12, 20])
def test_crop_and_resize_are_pillows(random, where, size, form):
    """Pillow's bilinear filter is the antialiased triangle; it rounds to whole levels."""
    y, x, height, width = where
    pixels = random.integers(0, 256, [12, 12, 3]).astype("uint8")
    expected = Image.fromarray(pixels).resize(
        [size, size], Image.Resampling.BILINEAR, box=(x, y, x + width, y + height)
    )
    received = crop(pixels[None], box(*where), tf.constant([False]), size, form)
    np.testing.assert_allclose(received[0], np.asarray(expected), atol=1.01)


@FORMS
def test_a_box_takes_only_its_own_pixels(form):
    """By hand: pixels 1.0 … 3.0 of [0, 10, 20, 30], enlarged twofold, and flipped."""
    row = np.array([0, 10, 20, 30], np.uint8)
    pixels = np.broadcast_to(row[:, None], [1, 4, 4, 1])
    wanted = [7.5, 12.5, 17.5, 22.5]
    for flipped in (False, True):
        where = box(0, 1, 4, 2)
        lines = crop(pixels, where, tf.constant([flipped]), 4, form)[0, :, :, 0]
        np.testing.assert_allclose(lines, [wanted[::-1] if flipped else wanted] * 4, atol=1e-4)


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_both_implementations_of_a_crop_agree(random, channels):
    pixels = random.integers(0, 256, [5, 30, 41, channels]).astype("uint8")
    height, width = random.uniform(1, 30, 5), random.uniform(1, 41, 5)
    where = (random.uniform(0, 30 - height), random.uniform(0, 41 - width), height, width)
    where = [tf.constant(number, tf.float32) for number in where]
    flipped = tf.constant([True, False, True, False, True])
    kernel, matrices = (crop(pixels, where, flipped, 9, form) for form in ("cpu", "matrices"))
    np.testing.assert_allclose(kernel, matrices, atol=2e-3)


@FORMS
def test_images_far_larger_than_the_view_are_averaged(random, form):
    pixels = random.integers(0, 256, [1, 90, 90, 1]).astype("uint8")
    received = crop(pixels, box(0, 0, 90, 90), tf.constant([False]), 8, form)
    expected = tf.image.resize(pixels, [8, 8], antialias=True)
    np.testing.assert_allclose(received, expected, atol=1e-2)


@FORMS
@pytest.mark.parametrize("radius", [0, 3, 8])
def test_blur_is_the_gaussian_with_its_edges_continued(random, form, radius):
    images = random.uniform(0, 255, [2, 20, 20, 3]).astype("float32")
    received = blur(images, [1.3, 0.0], radius, form)
    expected = ndimage.gaussian_filter(
        images[0].astype(float), [1.3, 1.3, 0], mode="nearest", radius=[radius, radius, 0]
    )
    np.testing.assert_allclose(received[0], expected, atol=1e-2 if form == "cpu" else 1e-3)
    np.testing.assert_allclose(received[1], images[1], atol=1e-3)


@FORMS
def test_a_blur_wide_enough_is_pillows(random, form):
    """Pillow uses three box filters instead of the Gaussian."""
    coarse = random.integers(0, 256, [1, 8, 8, 3]).astype("float32")
    pixels = tf.image.resize(coarse, [48, 48]).numpy().astype("uint8")
    for sigma in (0.5, 1.0, 2.0):
        expected = Image.fromarray(pixels[0]).filter(ImageFilter.GaussianBlur(sigma))
        radius = resample.blur_radius(48, 2.0, None)
        received = blur(pixels.astype("float32"), [sigma], radius, form)
        difference = np.abs(received[0].numpy() - np.asarray(expected))
        assert difference.max() < 3.5 and difference.mean() < 0.6


def test_the_radius_is_that_of_the_authors():
    assert resample.blur_radius(224, 2.0, None) == 8
    assert resample.blur_radius(96, 2.0, 0.1) == 4  # SimCLR: a kernel of 96 // 10, made odd
    assert resample.blur_radius(224, 2.0, 0.1) == 8  # of SimCLR's 11, beyond 8 less than 1e-4
    assert resample.blur_radius(6, 2.0, None) == 5
