import keras
import numpy as np
import pytest
import tensorflow as tf

from cl_keras import distribute
from cl_keras.views import (
    JigsawViews,
    PIRLViews,
    RandomViews,
    View,
    distant_permutations,
    jigsaw,
    pirl,
)
from cl_keras.views.patches import PLAIN

WHOLE = {"crop_area": (1.0, 1.0), "crop_ratio": (1.0, 1.0), "flip": 0.0}


def still(cell_size, patch_size, *, grid=3, crop_ratio=(1.0, 1.0), **look):
    """A jigsaw of the whole image with only the requested changes."""
    crop = View(1, crop_area=(1.0, 1.0), crop_ratio=crop_ratio, flip=0.0)
    view = View(patch_size, **(PLAIN | {"flip": 0.0} | look))
    return JigsawViews(cell_size, view, grid=grid, crop=crop)


def places(count, size=12):
    """Images in which each pixel encodes its position: row · size + column."""
    numbers = np.arange(size * size, dtype=np.uint8).reshape(1, size, size, 1)
    return np.repeat(numbers, count, axis=0)


def test_without_jitter_the_patches_are_the_cells_in_another_order():
    pixels = places(40)
    patches = still(4, 4)(pixels, seed=0, step=0).numpy()
    assert patches.shape == (40, 9, 4, 4, 1)
    cells = [pixels[0, y : y + 4, x : x + 4] for y in (0, 4, 8) for x in (0, 4, 8)]
    orders = []
    for image in patches:
        order = [next(i for i, c in enumerate(cells) if np.abs(c - p).max() < 0.01) for p in image]
        assert sorted(order) == list(range(9))
        orders.append(order)
    assert len(set(map(tuple, orders))) == 40
    for place in np.transpose(orders):  # every cell comes to every place
        assert set(place) == set(range(9))


def test_a_patch_is_a_window_of_its_cell_drawn_evenly():
    patches = still(4, 2)(places(200), seed=1, step=0).numpy()
    corner = np.round(patches[:, :, 0, 0, 0]).astype(int)
    rows, columns = corner // 12, corner % 12
    window = np.array([[0, 1], [12, 13]])[..., None]
    np.testing.assert_allclose(patches, corner[:, :, None, None, None] + window, atol=0.01)
    found = set()
    for jitter in (rows % 4, columns % 4):
        assert jitter.max() == 2
        counts = np.bincount(jitter.ravel())
        assert ((counts - 600) ** 2 / 600).sum() < 13.8  # 2 degrees of freedom: p = 0.001
    for image in zip(rows // 4 * 3 + columns // 4, strict=True):
        found.add(tuple(sorted(image[0])))
    assert found == {tuple(range(9))}
    assert np.mean(rows % 4 == columns % 4) < 0.5  # down and right are drawn apart
    assert np.std((rows % 4).mean(axis=1)) < 0.4  # and so are the patches of an image


def test_the_crop_is_resized_to_the_grid(random):
    """With unchanged cells in order, the patches tile a resized image."""
    pixels = tf.image.resize(random.integers(0, 256, [3, 4, 4, 3]).astype("float32"), [20, 30])
    patches = still(5, 5, grid=2, crop_ratio=(1.5, 1.5))(pixels, seed=0, step=0).numpy()
    whole = tf.image.resize(pixels, [10, 10], antialias=True).numpy()
    for image, expected in zip(patches, whole, strict=True):
        cells = [expected[y : y + 5, x : x + 5] for y in (0, 5) for x in (0, 5)]
        for cell in cells:
            assert min(np.abs(cell - patch).max() for patch in image) < 0.1


def test_each_patch_has_its_own_color_and_side(random):
    flat = np.full([2, 12, 12, 3], 100, np.uint8)
    colored = still(4, 4, color_probability=1.0)(flat, seed=0, step=0).numpy()
    levels = colored.mean(axis=(2, 3))
    assert np.ptp(levels, axis=1).min() > 10
    assert colored.std(axis=(2, 3)).max() < 0.01  # of one color inside
    flipped = still(4, 4, flip=0.5)(places(30), seed=0, step=0).numpy()
    share = np.mean(flipped[:, :, 0, 0, 0] > flipped[:, :, 0, 1, 0])
    assert 0.4 < share < 0.6


@pytest.mark.parametrize("channels", [1, 3])
def test_rows_do_not_depend_on_the_rest_of_the_batch(random, channels):
    pixels = random.integers(0, 256, [6, 12, 12, channels]).astype("uint8")
    views = pirl(12, channels)
    whole = views(pixels, seed=3, step=7)
    assert whole[0].shape == (6, 12, 12, channels) and whole[1].shape == (6, 9, 3, 3, channels)
    for first, count in ((0, 3), (3, 3)):
        part = views(pixels[first : first + count], seed=3, step=7, first_row=first)
        for received, expected in zip(part, whole, strict=True):
            np.testing.assert_allclose(received, expected[first : first + count], atol=1e-2)


def test_seed_step_and_row_each_change_the_draws(random):
    pixels = np.repeat(random.integers(0, 256, [1, 12, 12, 1]).astype("uint8"), 2, axis=0)
    views = pirl(12, 1)
    base = views(pixels, seed=0, step=0)
    for again, first in zip(views(pixels, seed=0, step=0), base, strict=True):
        np.testing.assert_array_equal(again, first)
    for other in (
        views(pixels, seed=1, step=0),
        views(pixels, seed=0, step=1),
        [part[::-1] for part in base],
    ):
        for received, first in zip(other, base, strict=True):
            assert np.abs(received - first).max() > 5


def test_two_replicas_draw_what_one_draws(mirrored, random):
    pixels = random.integers(0, 256, [6, 12, 12, 1]).astype("uint8")
    views = pirl(12, 1)
    expected = views(pixels, seed=1, step=5)

    @tf.function
    def draw():
        first = distribute.first_row(3)
        rows = tf.gather(tf.constant(pixels), first + tf.range(3))
        rows = tf.ensure_shape(rows, [3, 12, 12, 1])
        return views(rows, seed=1, step=tf.constant(5, tf.int64), first_row=first)

    for received, wanted in zip(mirrored.run(draw), expected, strict=True):
        np.testing.assert_allclose(tf.concat(received.values, 0), wanted, atol=1e-2)


@pytest.mark.parametrize(
    "size, cell, patch", [(224, 85, 64), (28, 9, 8), (32, 10, 9), (96, 36, 27)]
)
def test_sizes_follow_the_paper(size, cell, patch):
    made = jigsaw(size)
    assert (made.grid, made.cell_size, made.look.image_size) == (3, cell, patch)
    assert (made.crop.crop_area, made.crop.image_size) == ((0.6, 1.0), 3 * cell)
    assert pirl(size).image_size == size


@pytest.mark.parametrize(
    "make",
    [
        lambda: jigsaw(28, hue=0.1, flip=0.0),
        lambda: jigsaw(28, num_permutations=5),
        lambda: PIRLViews(RandomViews([View(20)]), JigsawViews(8, View(5), grid=2)),
    ],
)
def test_views_survive_their_config(make):
    views = make()
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(views))
    assert type(again) is type(views) and again.get_config() == views.get_config()


@pytest.mark.parametrize(
    "wrong, message",
    [
        ({"grid": 1}, "at least 2 cells per side; received 1"),
        ({"look": View(9)}, "patches of 9 pixels and cell_size=8"),
        ({"num_permutations": 0}, "from 1 to 20000 for 9 patches; received 0"),
        ({"num_permutations": 25, "grid": 2}, "from 1 to 24 for 4 patches; received 25"),
    ],
)
def test_values_out_of_range_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        JigsawViews(**({"cell_size": 8, "look": View(6)} | wrong))


def test_the_label_is_the_order_of_the_patches():
    """Decoded from the pixels, which encode their position: all orders, evenly."""
    crop = View(1, **WHOLE)
    made = JigsawViews(4, View(3, **PLAIN | {"flip": 0.0}), crop=crop, num_permutations=7)
    patches, label = made(places(350), seed=0, step=0)
    corner = np.round(patches.numpy()[:, :, 0, 0, 0]).astype(int)
    cells = corner // 12 // 4 * 3 + corner % 12 // 4
    np.testing.assert_array_equal(cells, made.permutations[label.numpy()])
    counts = np.bincount(label, minlength=7)
    assert ((counts - 50) ** 2 / 50).sum() < 22.5  # 6 degrees of freedom: p = 0.001


def test_permutations_are_far_from_each_other():
    chosen = distant_permutations(100)
    np.testing.assert_array_equal(np.sort(chosen, axis=1), np.tile(np.arange(9), [100, 1]))
    distance = (chosen[:, None] != chosen[None]).sum(axis=-1)
    others = distance[~np.eye(100, dtype=bool)]
    # Random ones differ in 8 of 9 places on average, and some pairs in no more than 3.
    assert others.min() >= 6 and others.mean() > 8.0
    np.testing.assert_array_equal(distant_permutations(100), chosen)


def test_few_permutations_differ_everywhere():
    """Four rotations of four patches: a Latin square, which is the maximum."""
    chosen = distant_permutations(4, 4)
    assert all((chosen[i] != chosen[j]).all() for i in range(4) for j in range(i))
    assert len(np.unique(distant_permutations(24, 4), axis=0)) == 24
