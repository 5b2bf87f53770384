import keras
import numpy as np
import pytest
import tensorflow as tf

from cl_keras import distribute, views
from cl_keras.views.multi_crop import MultiCrop, by_size, multi_crop

CROPS = [(10, 2, (0.3, 1.0)), (6, 3, (0.1, 0.3))]
STILL = {"crop_ratio": (1.0, 1.0), "flip": 0.0, "color_probability": 0.0} | {
    "grey_probability": 0.0,
    "blur_probability": 0.0,
}


def colours(random, count=6, size=16):
    coarse = random.integers(0, 256, [count, 4, 4, 3]).astype("float32")
    return tf.image.resize(coarse, [size, size]).numpy().astype("uint8")


def test_views_come_in_the_order_and_size_of_the_crops(random):
    made = MultiCrop(CROPS)
    sizes = [view.shape for view in made(colours(random), seed=0, step=0)]
    assert sizes == 2 * [(6, 10, 10, 3)] + 3 * [(6, 6, 6, 3)]
    assert (made.image_size, made.num_views) == (10, 5)


def test_a_crop_of_all_is_the_image_in_its_size(random):
    pixels = colours(random)
    whole = (1.0, 1.0)
    large, same, small = MultiCrop([(32, 1, whole), (16, 1, whole), (8, 1, whole)], **STILL)(
        pixels, seed=0, step=0
    )
    np.testing.assert_allclose(same, pixels, atol=1e-3)
    for view, size in ((large, 32), (small, 8)):
        expected = tf.image.resize(pixels, [size, size], antialias=True)
        np.testing.assert_allclose(view, expected, atol=1e-2)


def test_each_crop_covers_its_share(random):
    """A ramp tells by its slope how much of the image a view shows."""
    ramp = np.broadcast_to(np.arange(64, dtype="float32")[None, :, None, None], [200, 64, 64, 1])
    made = MultiCrop([(16, 1, (0.5, 1.0)), (8, 2, (0.05, 0.1))], **STILL)(ramp, seed=0, step=0)
    for view, low, high in zip(made, (0.5, 0.05, 0.05), (1.0, 0.1, 0.1), strict=True):
        size = view.shape[1]
        # Two pixels in the middle, which antialiasing at the border does not touch.
        step = (view[:, size // 2, 0, 0] - view[:, size // 2 - 1, 0, 0]).numpy()
        share = (step * size / 64) ** 2
        assert low - 0.01 <= share.min() and share.max() <= high + 0.01
        assert share.max() - share.min() > 0.7 * (high - low)


def test_two_views_of_one_size_are_two_views(random):
    pixels = colours(random)
    two = views.simclr(10, crop_area=(0.2, 0.9))
    same = MultiCrop([(10, 2, (0.2, 0.9))], **strengths(two))
    for a, b in zip(same(pixels, seed=4, step=2), two(pixels, seed=4, step=2), strict=True):
        np.testing.assert_array_equal(a, b)


def strengths(two):
    given = two.get_config()
    return {key: given[key] for key in set(given) - {"image_size", "crop_area"}}


def test_rows_do_not_depend_on_the_rest_of_the_batch(random):
    pixels = colours(random)
    made = MultiCrop(CROPS)
    whole = made(pixels, seed=3, step=7)
    part = made(pixels[2:4], seed=3, step=7, first_row=2)
    for received, expected in zip(part, whole, strict=True):
        np.testing.assert_allclose(received, expected[2:4], atol=1e-3)


def test_seed_step_row_and_view_each_change_the_draws(random):
    pixels = np.repeat(colours(random, 1), 2, axis=0)
    made = MultiCrop(CROPS)
    base = made(pixels, seed=0, step=0)
    np.testing.assert_array_equal(made(pixels, seed=0, step=0)[4], base[4])
    others = [made(pixels, seed=1, step=0)[4], made(pixels, seed=0, step=1)[4]]
    for other in [*others, base[3], base[4][::-1]]:
        assert np.abs(other - base[4]).max() > 5


def test_two_replicas_draw_what_one_draws(mirrored, random):
    pixels = colours(random)
    made = MultiCrop(CROPS)
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


@pytest.mark.parametrize(
    "crops, message",
    [
        ([], "at least two views"),
        ([(8, 1, (0.1, 1.0))], "at least two views"),
        ([(8, 0, (0.1, 1.0))], "received count 0"),
        ([(0, 2, (0.1, 1.0))], "received 0"),
        ([(8, 2, (0.1, 1.5))], r"received \(0.1, 1.5\)"),
    ],
)
def test_crops_out_of_range_are_refused(crops, message):
    with pytest.raises(ValueError, match=message):
        MultiCrop(crops)


def test_it_survives_its_config():
    made = multi_crop(96, blur_sigma=(0.2, 1.0))
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(made))
    assert again.get_config() == made.get_config()
    assert again.crops == made.crops


def test_the_preset_is_the_papers():
    made = multi_crop(224)
    assert made.crops == 2 * [(224, (0.14, 1.0))] + 6 * [(96, (0.05, 0.14))]
    assert {
        **strengths(views.simclr(224)),
        "crops": made.get_config()["crops"],
    } == made.get_config()
    assert multi_crop(32, small_views=0).crops == 2 * [(32, (0.14, 1.0))]


def test_neighbours_of_one_size_go_together():
    made = [tf.zeros([2, size, size, 1]) for size in (8, 8, 4, 4, 4, 8)]
    assert [len(group) for group in by_size(made)] == [2, 3, 1]
    assert all(a is b for a, b in zip(sum(by_size(made), []), made, strict=True))
