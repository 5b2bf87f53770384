import keras
import numpy as np
import pytest

from cl_keras.views import (
    PatchGrid,
    RelativePositionViews,
    Rotations,
    View,
    patch_grid,
    relative_position,
    rotations,
)
from cl_keras.views.patches import PLAIN, tiles


def places(count, size):
    """Images with two channels in which each pixel encodes its row and its column."""
    numbers = np.stack(np.meshgrid(np.arange(size), np.arange(size), indexing="ij"), axis=-1)
    return np.repeat(numbers[None].astype(np.uint8), count, axis=0)


def test_the_label_is_the_position_of_the_second_patch():
    """Decoded from the pixels: all eight positions, evenly, and jitter up to its limit."""
    made = RelativePositionViews(6, gap=4, jitter=2, crop_area=(1.0, 1.0))
    assert made.crop.image_size == 30
    (patches, label) = made(places(800, 30), seed=0, step=0)
    corner = np.round(patches.numpy()[:, :, 0, 0]).astype(int)  # [b, 2, (row, column)]
    np.testing.assert_allclose(patches, corner[:, :, None, None] + places(1, 6)[:, None], atol=1e-2)
    cell, jitter = (corner - 2 + 5) // 10, (corner - 2 + 5) % 10 - 5
    np.testing.assert_array_equal(cell[:, 0], np.ones([800, 2]))
    around = [(r, c) for r in range(3) for c in range(3) if (r, c) != (1, 1)]
    np.testing.assert_array_equal(cell[:, 1], np.array(around)[label.numpy()])
    counts = np.bincount(label, minlength=8)
    assert ((counts - 100) ** 2 / 100).sum() < 24.3  # 7 degrees of freedom: p = 0.001
    for moved in jitter.reshape(-1, 4).T:
        counts = np.bincount(moved + 2, minlength=5)
        assert ((counts - 160) ** 2 / 160).sum() < 18.5
    assert np.abs(np.corrcoef(jitter.reshape(-1, 4).T) - np.eye(4)).max() < 0.15


def test_two_of_three_channels_are_dropped(random):
    pixels = random.integers(0, 256, [60, 30, 30, 3]).astype("uint8")
    patches, _ = RelativePositionViews(6, gap=4, jitter=2)(pixels, seed=0, step=0)
    lively = patches.numpy().std(axis=(2, 3)) > 1.0  # [b, 2, 3]
    assert (lively.sum(axis=-1) == 1).all()
    kept = lively.argmax(axis=-1)
    assert set(kept.ravel()) == {0, 1, 2} and (kept[:, 0] != kept[:, 1]).any()
    level = patches.numpy().mean(axis=(2, 3))
    np.testing.assert_allclose(level, np.repeat(level[..., :1], 3, -1), atol=1e-2)


def test_two_of_three_patches_are_gray(random):
    pixels = random.integers(0, 256, [600, 14, 14, 3]).astype("uint8")
    made = RelativePositionViews(4, gap=1, jitter=0, defense="grayscale")
    patches, _ = made(pixels, seed=0, step=0)
    gray = np.ptp(patches.numpy(), axis=-1).max(axis=(2, 3)) < 1e-2
    assert gray.mean() == pytest.approx(0.66, abs=0.05)


def test_a_grid_of_patches_overlaps_as_it_should():
    made = PatchGrid(8, stride=4, grid=3, crop=View(1, crop_area=(1, 1), crop_ratio=(1, 1), flip=0))
    pixels = places(2, 16)
    patches = made(pixels, seed=0, step=0)
    assert patches.shape == (2, 9, 8, 8, 2)
    expected = [pixels[:, y : y + 8, x : x + 8] for y in (0, 4, 8) for x in (0, 4, 8)]
    np.testing.assert_allclose(patches, np.stack(expected, axis=1), atol=1e-2)


def test_each_patch_can_have_its_own_look(random):
    flat = np.full([3, 16, 16, 3], 100, np.uint8)
    look = View(1, brightness=0.8, color_probability=1.0, blur_probability=0.0)
    patches = PatchGrid(8, stride=4, grid=3, look=look)(flat, seed=0, step=0)
    assert np.ptp(patches.numpy().mean(axis=(2, 3, 4)), axis=1).min() > 10


@pytest.mark.parametrize("copies", [1, 4])
def test_the_label_is_the_rotation(copies):
    whole = View(5, **PLAIN, crop_area=(1, 1), crop_ratio=(1, 1), flip=0)
    pixels = places(200, 5)
    turned, label = Rotations(whole, copies=copies)(pixels, seed=0, step=0)
    assert turned.shape == (200, copies, 5, 5, 2) and label.shape == (200, copies)
    for image, views, quarters in zip(pixels, turned.numpy(), label.numpy(), strict=True):
        for view, quarter in zip(views, quarters, strict=True):
            np.testing.assert_allclose(view, np.rot90(image, quarter), atol=1e-2)
    assert set(label.numpy()[:, 0]) == {0, 1, 2, 3}
    if copies == 4:
        np.testing.assert_array_equal(np.sort(label, axis=1), np.tile(np.arange(4), [200, 1]))


def test_the_presets_are_the_papers():
    made = relative_position(398)
    assert (made.patch_size, made.gap, made.jitter) == (96, 48, 7)
    assert (made.crop.image_size, made.defense) == (398, "drop_channels")
    made = patch_grid(260)
    assert (made.patch_size, made.stride, made.grid, made.crop.image_size) == (80, 36, 6, 260)
    made = patch_grid(28, 1, grid=3, patch_share=0.5)
    assert (made.patch_size, made.stride, made.crop.image_size) == (14, 7, 28)
    made = rotations(224)
    assert (made.copies, made.view.image_size, made.view.color_probability) == (4, 224, 0.0)
    for size in (28, 32, 96, 224):
        assert relative_position(size, 1).crop.image_size <= size


@pytest.mark.parametrize(
    "make",
    [
        lambda: relative_position(96, defense="grayscale"),
        lambda: patch_grid(100, look=View(1, hue=0.1)),
        lambda: rotations(20, copies=2),
    ],
)
def test_they_survive_their_config(make):
    made = make()
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(made))
    assert type(again) is type(made) and again.get_config() == made.get_config()
    assert (again.crop, again.look) == (made.crop, made.look)


@pytest.mark.parametrize(
    "wrong, message",
    [
        (lambda: RelativePositionViews(defense="none"), "received 'none'"),
        (lambda: RelativePositionViews(0), "received 0, 48 and 7"),
        (lambda: PatchGrid(8, stride=0), "received 8, 0 and 6"),
        (lambda: Rotations(View(8), copies=5), "received 5"),
    ],
)
def test_values_out_of_range_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        wrong()


def test_tiles_put_the_cells_back_together():
    pixels = places(2, 12)
    cells = pixels.reshape(2, 3, 4, 3, 4, 2).swapaxes(2, 3).reshape(2, 9, 4, 4, 2)
    np.testing.assert_array_equal(tiles(cells), pixels)
    np.testing.assert_array_equal(tiles(cells[:, :2]), pixels[:, :4, :8])
