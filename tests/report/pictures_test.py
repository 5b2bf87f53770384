"""Grids of images, pixel by pixel."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from cl_keras.report import image_grid
from cl_keras.report.pictures import data_uri, resize, tile


def test_grid_places_each_image_in_its_cell():
    images = np.random.default_rng(0).integers(0, 256, (2, 3, 64, 80, 3), np.uint8)
    grid = np.asarray(image_grid(images, padding=5, background=(1, 2, 3)))
    assert grid.shape == (2 * 64 + 5, 3 * 80 + 2 * 5, 3)
    covered = np.zeros(grid.shape[:2], bool)
    for r in range(2):
        for c in range(3):
            cell = slice(69 * r, 69 * r + 64), slice(85 * c, 85 * c + 80)
            np.testing.assert_array_equal(grid[cell], images[r, c])
            covered[cell] = True
    np.testing.assert_array_equal(grid[~covered], np.tile([1, 2, 3], ((~covered).sum(), 1)))


def test_small_gray_images_are_enlarged_by_whole_factors():
    images = np.random.default_rng(0).integers(0, 256, (1, 1, 16, 8, 1), np.uint8)
    grid = np.asarray(image_grid(images))
    expected = np.kron(images[0, 0, :, :, 0], np.ones((4, 4), np.uint8))  # 16 → 64
    np.testing.assert_array_equal(grid, np.repeat(expected[..., None], 3, axis=2))


def test_large_images_are_shrunk_by_means_of_areas():
    image = np.random.default_rng(0).integers(0, 256, (256, 128, 1), np.uint8)
    means = image.reshape(128, 2, 64, 2).mean(axis=(1, 3))
    np.testing.assert_allclose(np.asarray(tile(image)), means, atol=1)  # rounded by axis
    assert tile(image, side=32).size == (16, 32)


def test_floats_are_rounded_and_clipped():
    images = np.float32([-3, 0.4, 0.6, 254.6, 300, np.nan]).reshape(1, 6, 1, 1, 1)
    grid = np.asarray(image_grid(images, padding=0, side=1))
    np.testing.assert_array_equal(grid[0, :, 0], [0, 0, 1, 255, 255, 0])


def test_resize_keeps_channels_and_an_even_color():
    for channels in (1, 3):
        image = np.full((9, 12, channels), 77, np.uint8)
        np.testing.assert_array_equal(resize(image, 5, 6), np.full((5, 6, channels), 77))


def test_a_picture_comes_back_from_its_address():
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
    kind, data = data_uri(Image.fromarray(pixels)).split(",")
    assert kind == "data:image/png;base64"
    back = np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))
    np.testing.assert_array_equal(back, pixels)


@pytest.mark.parametrize("shape", [(2, 3, 8, 8), (2, 3, 8, 8, 4), (0, 3, 8, 8, 1), (3, 8, 8, 1)])
def test_another_shape_is_explained(shape):
    with pytest.raises(ValueError, match=rf"received (shape )?\({shape[0]}, {shape[1]}, "):
        image_grid(np.zeros(shape, np.uint8))
