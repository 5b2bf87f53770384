import keras
import numpy as np
import pytest
import tensorflow as tf

from cl_keras import distribute, views
from cl_keras.views import RandomViews, View
from cl_keras.views.draws import Columns, crop_boxes, decide, uniform
from cl_keras.views.random_views import by_size

STILL = {
    "crop_area": (1.0, 1.0),
    "crop_ratio": (1.0, 1.0),
    "flip": 0.0,
    "color_probability": 0.0,
    "grayscale_probability": 0.0,
    "blur_probability": 0.0,
}


def still(size, **changes):
    """A view with only the requested changes."""
    return RandomViews([View(size, **(STILL | changes))])


def colors(random, count=4, size=10):
    coarse = random.integers(0, 256, [count, 4, 4, 3]).astype("float32")
    return tf.image.resize(coarse, [size, size]).numpy().astype("uint8")


def test_without_operations_nothing_changes(random):
    pixels = colors(random)
    (view,) = still(10)(pixels, seed=0, step=0)
    np.testing.assert_allclose(view, pixels, atol=1e-3)


def test_a_flip_is_a_flip(random):
    pixels = colors(random)
    (view,) = still(10, flip=1.0)(pixels, seed=0, step=0)
    np.testing.assert_allclose(view, pixels[:, :, ::-1], atol=1e-3)


def test_a_crop_of_everything_is_the_resized_image(random):
    pixels = colors(random, size=16)
    made = RandomViews([View(size, **STILL) for size in (32, 16, 8)])
    large, same, small = made(pixels, seed=0, step=0)
    np.testing.assert_allclose(same, pixels, atol=1e-3)
    for view, size in ((large, 32), (small, 8)):
        expected = tf.image.resize(pixels, [size, size], antialias=True)
        np.testing.assert_allclose(view, expected, atol=1e-2)


def test_each_crop_covers_its_share():
    """The slope of a ramp shows how much of the image a view covers."""
    ramp = np.broadcast_to(np.arange(64, dtype="float32")[None, :, None, None], [200, 64, 64, 1])
    areas = ((0.5, 1.0), (0.05, 0.1), (0.05, 0.1))
    sizes = (16, 8, 8)
    made = RandomViews(
        [View(size, **(STILL | {"crop_area": a})) for size, a in zip(sizes, areas, strict=True)]
    )
    for view, size, (low, high) in zip(made(ramp, seed=0, step=0), sizes, areas, strict=True):
        # Two pixels in the middle, which antialiasing at the border does not touch.
        slope = (view[:, size // 2, 0, 0] - view[:, size // 2 - 1, 0, 0]).numpy()
        share = (slope * size / 64) ** 2
        assert low - 0.01 <= share.min() and share.max() <= high + 0.01
        assert share.max() - share.min() > 0.7 * (high - low)


@pytest.mark.parametrize(
    "operation, share",
    [
        ({"grayscale_probability": 0.3}, 0.3),
        ({"solarize_probability": 0.3, "grayscale_probability": 0.0}, 0.3),
        ({"blur_probability": 0.3, "blur_sigma": (1.0, 2.0)}, 0.3),
        ({"color_probability": 0.3}, 0.3),
    ],
)
def test_an_operation_applies_as_often_as_it_should(random, operation, share):
    pixels = np.repeat(colors(random, 1), 2000, axis=0)
    (view,) = still(10, **operation)(pixels, seed=0, step=0)
    changed = np.abs(view - pixels).max(axis=(1, 2, 3)) > 0.5
    assert changed.mean() == pytest.approx(share, abs=0.035)  # 3.4 standard deviations


def test_grayscale_and_solarization_are_drawn_apart(random):
    pixels = np.repeat(colors(random, 1), 2000, axis=0)
    (view,) = still(10, grayscale_probability=0.4, solarize_probability=0.3)(pixels, seed=0, step=0)
    gray = np.ptp(view.numpy(), axis=-1).max(axis=(1, 2)) < 1e-2
    solarized = view.numpy().max(axis=(1, 2, 3)) <= 128
    assert gray.mean() == pytest.approx(0.4, abs=0.04)
    assert solarized.mean() == pytest.approx(0.3, abs=0.04)
    assert (gray & solarized).mean() == pytest.approx(0.12, abs=0.03)


def test_the_remainder_of_a_decision_is_uniform():
    drawn = uniform(0, 0, 0, 50_000, 1)[:, 0]
    decided, rest = (part.numpy() for part in decide(drawn, 0.2))
    assert decided.mean() == pytest.approx(0.2, abs=0.006)
    for part in (rest[decided], rest[~decided]):
        counts = np.histogram(part, 10, (0, 1))[0]
        expected = len(part) / 10
        assert ((counts - expected) ** 2 / expected).sum() < 27.9  # 9 degrees: p = 0.001


def test_views_differ_as_they_are_told_to(random):
    """BYOL's pair: a blur in the first view, solarization in the second."""
    pixels = np.repeat(colors(random, 1, 16), 50, axis=0)
    pair = RandomViews(
        [
            View(16, **(STILL | {"blur_probability": 1.0, "blur_sigma": (1.0, 2.0)})),
            View(16, **(STILL | {"solarize_probability": 1.0})),
        ]
    )
    blurred, solarized = (view.numpy() for view in pair(pixels, seed=0, step=0))
    assert np.abs(np.diff(blurred, axis=1)).mean() < np.abs(np.diff(pixels * 1.0, axis=1)).mean()
    np.testing.assert_allclose(solarized, np.where(pixels >= 128, 255 - pixels, pixels), atol=1e-3)


@pytest.mark.parametrize("channels", [1, 3, 6])
def test_rows_do_not_depend_on_the_rest_of_the_batch(random, channels):
    pixels = random.integers(0, 256, [8, 10, 10, channels]).astype("uint8")
    pair = views.byol(10, channels, blur_probability=0.5)
    whole = pair(pixels, seed=3, step=7)
    for first, count in ((0, 3), (5, 3)):
        part = pair(pixels[first : first + count], seed=3, step=7, first_row=first)
        for received, expected in zip(part, whole, strict=True):
            assert received.shape == (count, 10, 10, channels)
            np.testing.assert_allclose(received, expected[first : first + count], atol=2e-3)


def test_seed_step_row_and_view_each_change_the_draws(random):
    pixels = np.repeat(colors(random, 1, 16), 2, axis=0)
    two = views.simclr(16)
    base = two(pixels, seed=0, step=0)
    np.testing.assert_array_equal(two(pixels, seed=0, step=0)[0], base[0])
    others = [two(pixels, seed=1, step=0)[0], two(pixels, seed=0, step=1)[0]]
    for other in [*others, base[1], base[0][::-1]]:
        assert np.abs(other - base[0]).max() > 5


def test_images_of_one_channel_keep_brightness_and_contrast(random):
    pixels = colors(random)[..., :1]
    plain = {"saturation": 0.0, "hue": 0.0, "color_probability": 1.0}
    darker = still(10, **plain, brightness=0.9, contrast=0.0)
    view = darker(pixels, seed=0, step=0)[0].numpy()
    assert (view.mean(axis=(1, 2, 3)) / pixels.mean(axis=(1, 2, 3))).std() > 0.1
    flatter = still(10, **plain, brightness=0.0, contrast=0.9)
    view = flatter(pixels, seed=0, step=0)[0].numpy()
    unclipped = (view.min(axis=(1, 2, 3)) > 0) & (view.max(axis=(1, 2, 3)) < 255)
    assert unclipped.any()
    np.testing.assert_allclose(
        view.mean(axis=(1, 2, 3))[unclipped], pixels.mean(axis=(1, 2, 3))[unclipped], rtol=1e-3
    )


@pytest.mark.parametrize("channels", [1, 4])
def test_color_operations_are_dropped_with_a_warning_for_other_channels(random, channels):
    pixels = random.integers(0, 256, [2, 8, 8, channels]).astype("uint8")
    asked = still(8, color_probability=1.0, brightness=0.0, contrast=0.0, grayscale_probability=1.0)
    with pytest.warns(UserWarning, match="Saturation, hue, grayscale cannot be changed in images"):
        (view,) = asked(pixels, seed=0, step=0)
    np.testing.assert_allclose(view, pixels, atol=1e-3)


def test_crops_cut_beforehand_get_the_same_look(random):
    pixels = colors(random, 6)
    pair = views.byol(10, crop_area=(1.0, 1.0), crop_ratio=(1.0, 1.0), flip=0.0)
    expected = pair(pixels, seed=3, step=2)
    received = pair.finish([pixels, pixels], seed=3, step=2)
    for got, wanted in zip(received, expected, strict=True):
        np.testing.assert_allclose(got, wanted, atol=1e-2)
    with pytest.raises(ValueError, match=r"need crops of \[10, 10\] pixels; received \[10\]"):
        pair.finish([pixels], seed=0, step=0)


def test_two_replicas_draw_what_one_draws(mirrored, random):
    pixels = colors(random, 6)
    made = views.swav(10, small_views=1)
    expected = made(pixels, seed=1, step=5)

    def local(context):
        start = 3 * context.replica_id_in_sync_group
        return tf.constant(pixels[start : start + 3])

    @tf.function
    def draw(rows):
        return made(rows, seed=1, step=tf.constant(5, tf.int64), first_row=distribute.first_row(3))

    values = mirrored.experimental_distribute_values_from_function(local)
    for received, wanted in zip(mirrored.run(draw, args=[values]), expected, strict=True):
        np.testing.assert_allclose(tf.concat(received.values, 0), wanted, atol=1e-3)


def test_views_compile_within_a_compiled_step(random):
    pixels = colors(random)
    pair = views.byol(10, blur_probability=0.5)

    @tf.function(jit_compile=True)
    def compiled(images, step):
        return pair(images, seed=0, step=step)

    for received, wanted in zip(
        compiled(pixels, tf.constant(3, tf.int64)), pair(pixels, seed=0, step=3), strict=True
    ):
        np.testing.assert_allclose(received, wanted, atol=2e-3)


def test_boxes_are_drawn_as_they_should():
    block = Columns(uniform(0, 0, 0, 20_000, 22))
    y, x, height, width = (v.numpy() for v in crop_boxes(block, 30, 40, (0.1, 0.5), (0.5, 2.0)))
    assert (y >= 0).all() and (x >= 0).all()
    assert (y + height <= 30 + 1e-3).all() and (x + width <= 40 + 1e-3).all()
    area, ratio = height * width / 1200, width / height
    assert area.min() >= 0.1 - 1e-5 and area.max() <= 0.5 + 1e-5
    assert ratio.min() >= 0.5 - 1e-5 and ratio.max() <= 2 + 1e-5
    inside = (area < 0.2) & (ratio > 0.9) & (ratio < 1.1)  # far from any rejection
    assert np.median(area[inside]) == pytest.approx(0.15, abs=0.005)
    assert np.mean(y / (30 - height)) == pytest.approx(0.5, abs=0.01)


def test_a_box_that_never_fits_falls_back_to_the_middle():
    block = Columns(uniform(0, 0, 0, 3, 22))
    y, x, height, width = crop_boxes(block, 10, 40, (1.0, 1.0), (0.9, 1.1))
    np.testing.assert_allclose(height, [10.0] * 3, rtol=1e-5)
    np.testing.assert_allclose(width, [11.0] * 3, rtol=1e-5)
    np.testing.assert_allclose(y, [0.0] * 3, atol=1e-5)
    np.testing.assert_allclose(x, [14.5] * 3, rtol=1e-5)


def test_images_of_another_shape_are_refused():
    with pytest.raises(ValueError, match="images must be a batch"):
        still(8)(np.zeros([8, 8, 3], "uint8"), seed=0, step=0)
    of_any_size = [tf.TensorSpec([2, None, 8, 3], tf.uint8)]
    with pytest.raises(ValueError, match="images must be a batch"):
        tf.function(lambda x: still(8)(x, seed=0, step=0), of_any_size).get_concrete_function()


@pytest.mark.parametrize("wrong", [[], [8], 3])
def test_views_are_made_of_views(wrong):
    with pytest.raises((ValueError, TypeError)):
        RandomViews(wrong)


def test_views_survive_their_config():
    made = views.dino(96, blur_sigma=(0.2, 1.0))
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(made))
    assert again.views == made.views


def test_adjacent_views_of_one_size_are_batched_together():
    made = [tf.zeros([2, size, size, 1]) for size in (8, 8, 4, 4, 4, 8)]
    assert [len(group) for group in by_size(made)] == [2, 3, 1]
    assert all(a is b for a, b in zip(sum(by_size(made), []), made, strict=True))
