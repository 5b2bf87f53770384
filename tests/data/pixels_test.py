"""Decoding: the pixels do not depend on how a picture was stored."""

import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from cl_keras.data.pixels import decode, fit, fit_tensor


@pytest.fixture
def picture(random):
    """uint8 [12, 8, 3], smooth, no symmetry."""
    coarse = random.integers(0, 256, [4, 3, 3]).astype("uint8")
    return np.asarray(Image.fromarray(coarse).resize((8, 12), Image.Resampling.BILINEAR))


def stored(image, form, **options):
    file = io.BytesIO()
    image.save(file, form, **options)
    file.seek(0)
    return file


def test_lossless_formats_give_the_pixels_back(picture):
    image = Image.fromarray(picture)
    for form, options in [("PNG", {}), ("BMP", {}), ("WEBP", {"lossless": True})]:
        np.testing.assert_array_equal(decode(stored(image, form, **options)), picture)


def test_jpeg_gives_nearly_the_pixels_back(picture):
    decoded = decode(stored(Image.fromarray(picture), "JPEG", quality=95, subsampling=0))
    assert np.abs(decoded.astype(int) - picture).max() < 16


def test_cmyk_jpeg_becomes_color(picture):
    image = Image.fromarray(picture).convert("CMYK")
    decoded = decode(stored(image, "JPEG", quality=95, subsampling=0))
    assert np.abs(decoded.astype(int) - picture).max() < 24


def test_palette_png_and_gif_are_looked_up():
    colors = np.array([[255, 0, 0], [0, 200, 0], [0, 0, 90], [250, 250, 0]], np.uint8)
    picture = colors[np.arange(48).reshape(6, 8) % 4]
    image = Image.fromarray(picture).convert("P", palette=Image.Palette.ADAPTIVE, colors=4)
    for form in ("PNG", "GIF"):
        np.testing.assert_array_equal(decode(stored(image, form)), picture)


@pytest.mark.parametrize("form", ["GIF", "WEBP", "PNG"])
def test_an_animation_is_its_first_frame(form):
    frames = [Image.new("RGB", (5, 4), color) for color in ["red", "lime", "blue"]]
    options = {"lossless": True} if form == "WEBP" else {}
    file = stored(frames[0], form, save_all=True, append_images=frames[1:], **options)
    np.testing.assert_array_equal(decode(file), np.full([4, 5, 3], [255, 0, 0]))


def test_transparency_is_composited_on_white(picture):
    alpha = np.linspace(0, 255, 96).reshape(12, 8, 1)
    expected = picture * (alpha / 255) + 255 * (1 - alpha / 255)
    rgba = np.concatenate([picture, alpha], -1).astype("uint8")
    decoded = decode(stored(Image.fromarray(rgba), "PNG"))
    assert np.abs(decoded - expected).max() <= 1.5
    assert np.abs(fit(rgba).astype(int) - decoded).max() == 0
    assert np.abs(fit_tensor(tf.constant(rgba)).numpy().astype(int) - decoded).max() <= 1


def test_transparent_gray_and_palette_become_white():
    gray = Image.fromarray(np.dstack([np.full([3, 3], 90), [[0, 255, 0]] * 3]).astype("uint8"))
    assert gray.mode == "LA"
    expected = np.array([[255, 90, 255]] * 3)
    np.testing.assert_array_equal(decode(stored(gray, "PNG"), channels=1)[..., 0], expected)
    palette = Image.fromarray(np.array([[0, 1, 0]] * 3, np.uint8), "P")
    palette.putpalette([10, 20, 30, 90, 90, 90])
    for form in ("PNG", "GIF"):
        decoded = decode(stored(palette, form, transparency=0))
        np.testing.assert_array_equal(decoded, np.repeat(expected[..., None], 3, -1))


def test_sixteen_bits_are_scaled_to_eight():
    values = np.array([[0, 257, 30000, 65535]], np.uint16)
    decoded = decode(stored(Image.fromarray(values), "PNG"), channels=1)
    np.testing.assert_array_equal(decoded[..., 0], [[0, 1, 117, 255]])  # 30000 / 257 = 116.7


def test_bilevel_becomes_black_and_white():
    values = np.eye(5, dtype=bool)
    for form in ("PNG", "BMP"):
        decoded = decode(stored(Image.fromarray(values), form), channels=1)
        np.testing.assert_array_equal(decoded[..., 0], values * 255)


UPRIGHT = {  # EXIF orientation → what a viewer does with the stored rows and columns
    1: lambda p: p,
    2: lambda p: p[:, ::-1],
    3: lambda p: p[::-1, ::-1],
    4: lambda p: p[::-1],
    5: lambda p: p.transpose(1, 0, 2),
    6: lambda p: np.rot90(p, -1),
    7: lambda p: p[::-1, ::-1].transpose(1, 0, 2),
    8: lambda p: np.rot90(p, 1),
}


@pytest.mark.parametrize("tag", UPRIGHT)
@pytest.mark.parametrize("form", ["PNG", "WEBP"])
def test_exif_orientation_is_applied(picture, tag, form):
    exif = Image.Exif()
    exif[0x0112] = tag
    options = {"lossless": True} if form == "WEBP" else {}
    file = stored(Image.fromarray(picture), form, exif=exif, **options)
    np.testing.assert_array_equal(decode(file), UPRIGHT[tag](picture))


def test_broken_exif_is_ignored(picture):
    file = stored(Image.fromarray(picture), "PNG", exif=b"Exif\0\0nonsense")
    np.testing.assert_array_equal(decode(file), picture)


def area(picture, size):
    """The mean over each of size × size cells of a square picture: antialiasing by definition."""
    cell = picture.shape[0] // size
    cells = picture.reshape(size, cell, size, cell, -1).astype(float)
    return cells.mean((1, 3))


def test_resizing_crops_the_center_square_and_antialiases(random):
    noise = random.integers(0, 256, [64, 100, 3]).astype("uint8")
    square = noise[:, 18:82]
    resized = fit(noise, image_size=4)
    # bilinear antialiasing weights by a triangle, not a box: near the mean, far from one pixel
    assert np.abs(resized - area(square, 4)).max() < 20
    assert resized.std() < 20 < noise.std()
    flat = np.zeros([64, 100, 3], np.uint8)
    flat[:, 18:82] = 200
    np.testing.assert_array_equal(fit(flat, image_size=16), np.full([16, 16, 3], 200))
    tall = flat.transpose(1, 0, 2)
    np.testing.assert_array_equal(fit(tall, image_size=96), np.full([96, 96, 3], 200))


@pytest.mark.parametrize("size", [5, 16, 40])
@pytest.mark.parametrize("shape", [(23, 31, 3), (31, 22, 1)])
@pytest.mark.parametrize("channels", [1, 3])
def test_arrays_files_and_tensors_follow_one_rule(random, size, shape, channels):
    image = random.integers(0, 256, shape).astype("uint8")
    how = {"image_size": size, "channels": channels}
    ours = fit(image, **how)
    assert ours.shape == (size, size, channels)
    file = stored(Image.fromarray(image.squeeze()), "PNG")
    np.testing.assert_array_equal(decode(file, **how), ours)
    tensor = fit_tensor(tf.constant(image), **how).numpy()
    assert np.abs(tensor.astype(int) - ours).max() <= 1


def test_large_jpegs_are_nearly_the_same_decoded_small(random):
    coarse = random.integers(0, 256, [20, 30, 3]).astype("uint8")
    large = Image.fromarray(coarse).resize((1200, 800), Image.Resampling.BICUBIC)
    small = decode(stored(large, "JPEG", quality=95), image_size=48)
    full = fit(np.asarray(large), image_size=48)
    assert np.abs(small.astype(int) - full).mean() < 1.5
