import colorsys

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageEnhance, ImageOps

from cl_keras.views import color

GRAY = np.array([0.299, 0.587, 0.114])


@pytest.fixture
def pixels(random):
    """All kinds of pixels: random colors, pure ones, grays, ties between channels."""
    drawn = random.integers(0, 256, [2, 6, 8, 3])
    drawn[:, 0, :, 1] = drawn[:, 0, :, 0]
    drawn[:, 1] = drawn[:, 1, :, :1]
    drawn[:, 2] = random.integers(0, 2, [2, 8, 3]) * 255
    return drawn.astype("uint8")


def planes(pixels):
    return [tf.constant(pixels[..., i], tf.float32) for i in range(pixels.shape[-1])]


def pixels_of(planes):
    return np.stack([plane.numpy() for plane in planes], axis=-1)


def clipped(values):
    return np.clip(values, 0, 255)


def test_brightness_is_a_factor(pixels):
    received = pixels_of(color.brightness(planes(pixels), tf.constant([0.4, 1.7])))
    np.testing.assert_allclose(received[0], 0.4 * pixels[0], rtol=1e-5)
    np.testing.assert_allclose(received[1], clipped(1.7 * pixels[1]), rtol=1e-5)


def test_contrast_is_about_the_mean_gray(pixels):
    received = pixels_of(color.contrast(planes(pixels), tf.constant([0.4, 1.7])))
    for image, factor, result in zip(pixels, (0.4, 1.7), received, strict=True):
        mean = (image @ GRAY).mean()
        np.testing.assert_allclose(result, clipped(mean + factor * (image - mean)), atol=1e-3)


def test_contrast_of_other_channels_is_about_their_own_means(random):
    pixels = random.integers(0, 256, [1, 4, 4, 5]).astype("uint8")
    received = pixels_of(color.contrast(planes(pixels), tf.constant([0.5])))
    mean = pixels.mean(axis=(1, 2), keepdims=True)
    np.testing.assert_allclose(received, mean + 0.5 * (pixels - mean), atol=1e-3)


def test_saturation_is_about_the_gray_of_each_pixel(pixels):
    received = pixels_of(color.saturation(planes(pixels), tf.constant([0.0, 1.7])))
    for image, factor, result in zip(pixels, (0.0, 1.7), received, strict=True):
        gray = (image @ GRAY)[..., None]
        np.testing.assert_allclose(result, clipped(gray + factor * (image - gray)), atol=1e-3)


@pytest.mark.parametrize("turns", [0.0, 0.1, -0.2, 0.37, 0.5, -0.5])
def test_hue_turns_the_circle_of_hsv(pixels, turns):
    received = pixels_of(color.hue(planes(pixels), tf.fill([2], turns)))

    def turned(pixel):
        hue, saturation, value = colorsys.rgb_to_hsv(*(pixel / 255.0))
        return colorsys.hsv_to_rgb((hue + turns) % 1.0, saturation, value)

    expected = 255 * np.array([turned(pixel) for pixel in pixels.reshape(-1, 3)])
    np.testing.assert_allclose(received.reshape(-1, 3), expected, atol=2e-3)


@pytest.mark.parametrize("turns", [0.1, -0.3])
def test_hue_is_pillows_within_its_rounding(pixels, turns):
    """Pillow rounds hue to 256 steps; one of them is up to 6 levels of a channel."""
    received = pixels_of(color.hue(planes(pixels), tf.fill([2], turns)))
    for image, result in zip(pixels, received, strict=True):
        hue, saturation, value = Image.fromarray(image).convert("HSV").split()
        steps = np.asarray(hue).astype(np.uint8) + np.uint8(round(turns * 255) % 256)
        turned = Image.merge("HSV", (Image.fromarray(steps), saturation, value)).convert("RGB")
        difference = np.abs(np.asarray(turned).astype(float) - result)
        assert difference.max() < 10 and difference.mean() < 2


@pytest.mark.parametrize(
    "operation, enhance",
    [
        (color.brightness, ImageEnhance.Brightness),
        (color.contrast, ImageEnhance.Contrast),
        (color.saturation, ImageEnhance.Color),
    ],
)
@pytest.mark.parametrize("factor", [0.3, 1.6])
def test_jitter_is_pillows(pixels, operation, enhance, factor):
    received = pixels_of(operation(planes(pixels), tf.fill([2], factor)))
    for image, result in zip(pixels, received, strict=True):
        expected = np.asarray(enhance(Image.fromarray(image)).enhance(factor))
        np.testing.assert_allclose(result, expected, atol=2.0)  # Pillow rounds, the mean too


def test_grayscale_and_solarization_apply_where_asked(pixels):
    where = tf.constant([True, False])
    gray = pixels_of(color.grayscale(planes(pixels), where))
    np.testing.assert_allclose(gray[0], np.repeat((pixels[0] @ GRAY)[..., None], 3, -1), atol=1e-3)
    np.testing.assert_array_equal(gray[1], pixels[1])
    solarized = pixels_of(color.solarize(planes(pixels), where))
    expected = np.asarray(ImageOps.solarize(Image.fromarray(pixels[0]), threshold=128))
    np.testing.assert_array_equal(solarized[0], expected)
    np.testing.assert_array_equal(solarized[1], pixels[1])
