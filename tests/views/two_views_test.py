import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from cl_keras import views
from cl_keras.views import kernels
from cl_keras.views.draws import Columns, crop_boxes, uniform

GREY = np.array([0.299, 0.587, 0.114])


def still(size, **changes):
    """Views that change nothing but what is asked for."""
    nothing = {
        "crop_area": (1.0, 1.0),
        "crop_ratio": (1.0, 1.0),
        "flip": 0.0,
        "color_probability": 0.0,
        "grey_probability": 0.0,
        "blur_probability": 0.0,
    }
    return views.TwoViews(size, **(nothing | changes))


def colours(random, count=4, size=10):
    coarse = random.integers(0, 256, [count, 4, 4, 3]).astype("float32")
    return tf.image.resize(coarse, [size, size]).numpy().astype("uint8")


def test_nothing_asked_nothing_changed(random):
    pixels = colours(random)
    for view in still(10)(pixels, seed=0, step=0):
        np.testing.assert_allclose(view, pixels, atol=1e-3)


def test_a_flip_is_a_flip(random):
    pixels = colours(random)
    for view in still(10, flip=1.0)(pixels, seed=0, step=0):
        np.testing.assert_allclose(view, pixels[:, :, ::-1], atol=1e-3)


@pytest.mark.parametrize("box", [(2, 3, 5, 4), (0, 0, 12, 12), (1, 6, 11, 6)])
@pytest.mark.parametrize("size", [4, 12, 20])
def test_crop_and_resize_are_pillows(random, box, size):
    """Pillow's bilinear filter is the antialiased triangle; it rounds to whole levels."""
    y, x, height, width = box
    pixels = random.integers(0, 256, [12, 12, 3]).astype("uint8")
    expected = Image.fromarray(pixels[y : y + height, x : x + width]).resize(
        [size, size], Image.Resampling.BILINEAR
    )
    crop = pixels[None, y : y + height, x : x + width].astype("float32")
    rows = kernels.resize_matrix(tf.constant([0.0]), tf.constant([float(height)]), size, height)
    columns = kernels.resize_matrix(tf.constant([0.0]), tf.constant([float(width)]), size, width)
    received = kernels.apply_rows_and_columns(tf.constant(crop), rows, columns)[0]
    np.testing.assert_allclose(received, np.asarray(expected), atol=1.01)


def test_a_box_inside_takes_its_own_pixels():
    """By hand: pixels 1.0 … 3.0 of [0, 10, 20, 30], enlarged twofold."""
    matrix = kernels.resize_matrix(tf.constant([1.0]), tf.constant([2.0]), 4, 4)
    received = matrix[0] @ tf.constant([[0.0], [10.0], [20.0], [30.0]])
    np.testing.assert_allclose(received[:, 0], [7.5, 12.5, 17.5, 22.5], atol=1e-5)


def test_blur_is_the_gaussian_of_its_sigma(random):
    line = random.normal(size=40).astype("float32")
    received = kernels.blur_matrix(tf.constant([1.3, 0.0]), 40) @ line[:, None]
    weight = np.exp(-0.5 * (np.arange(-2, 3) / 1.3) ** 2)
    for i in range(40):
        inside = [(k, weight[k - i + 2]) for k in range(i - 2, i + 3) if 0 <= k < 40]
        expected = sum(line[k] * w for k, w in inside) / sum(w for _, w in inside)
        np.testing.assert_allclose(received[0, i, 0], expected, atol=1e-5)
    np.testing.assert_allclose(received[1, :, 0], line, atol=1e-6)


def colour_by_steps(pixels, brightness, contrast, saturation, hue, grey):
    """One operation after the other on one image, as torchvision defines them, unclipped."""
    x = pixels.astype(np.float64) * brightness
    mean = (x @ GREY).mean()
    x = contrast * x + (1 - contrast) * mean
    x = saturation * x + (1 - saturation) * (x @ GREY)[..., None]
    to_yiq = np.array([GREY, [0.5959, -0.2746, -0.3213], [0.2115, -0.5227, 0.3112]])
    yiq = x @ to_yiq.T
    chroma = (yiq[..., 1] + 1j * yiq[..., 2]) * np.exp(2j * np.pi * hue)
    x = np.stack([yiq[..., 0], chroma.real, chroma.imag], axis=-1) @ np.linalg.inv(to_yiq).T
    return np.repeat((x @ GREY)[..., None], 3, axis=-1) if grey else x


@pytest.mark.parametrize("grey", [False, True])
def test_the_colour_matrix_is_the_operations_one_by_one(random, grey):
    pixels = colours(random)
    factors = random.uniform(0.5, 1.5, [3, 4]).astype("float32")
    hue = random.uniform(-0.5, 0.5, 4).astype("float32")
    matrix, tint = kernels.colour_matrix(*map(tf.constant, [*factors, hue]), tf.fill([4], grey))
    mean = (pixels @ GREY).mean(axis=(1, 2))[:, None]
    for i in range(4):
        expected = colour_by_steps(pixels[i], *factors[:, i], hue[i], grey)
        received = pixels[i] @ matrix[i].numpy() + tint[i].numpy() * mean[i]
        np.testing.assert_allclose(received, expected, atol=2e-3)


def test_grey_images_keep_brightness_and_contrast_only(random):
    pixels = colours(random)[..., :1]
    same = still(10, color_probability=1.0, brightness=0.0, contrast=0.0, grey_probability=1.0)
    np.testing.assert_allclose(same(pixels, seed=0, step=0)[0], pixels, atol=1e-3)
    darker = still(10, color_probability=1.0, brightness=0.9, contrast=0.0)
    view = darker(pixels, seed=0, step=0)[0].numpy()
    assert (view.mean(axis=(1, 2, 3)) / pixels.mean(axis=(1, 2, 3))).std() > 0.1
    flatter = still(10, color_probability=1.0, brightness=0.0, contrast=0.9)
    view = flatter(pixels, seed=0, step=0)[0].numpy()
    unclipped = (view.min(axis=(1, 2, 3)) > 0) & (view.max(axis=(1, 2, 3)) < 255)
    assert unclipped.any()
    np.testing.assert_allclose(
        view.mean(axis=(1, 2, 3))[unclipped], pixels.mean(axis=(1, 2, 3))[unclipped], rtol=1e-3
    )


@pytest.mark.parametrize("channels", [1, 3])
def test_rows_do_not_depend_on_the_rest_of_the_batch(random, channels):
    pixels = colours(random, 8)[..., :channels]
    two = views.simclr(10, channels)
    whole = two(pixels, seed=3, step=7)
    for first, count in ((0, 4), (4, 4), (5, 1)):
        part = two(pixels[first : first + count], seed=3, step=7, first_row=first)
        for received, expected in zip(part, whole, strict=True):
            np.testing.assert_allclose(received, expected[first : first + count], atol=1e-3)


def test_seed_step_row_and_view_each_change_the_draws(random):
    pixels = np.repeat(colours(random, 1, 16), 2, axis=0)
    two = views.simclr(16)
    base = two(pixels, seed=0, step=0)
    np.testing.assert_array_equal(two(pixels, seed=0, step=0)[0], base[0])
    others = [
        two(pixels, seed=1, step=0)[0],
        two(pixels, seed=0, step=1)[0],
        base[1],
        base[0][::-1],
    ]
    for other in others:
        assert np.abs(other - base[0]).max() > 5


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


def test_two_replicas_draw_what_one_draws(mirrored, random):
    from cl_keras import distribute

    pixels = colours(random, 6)
    two = views.simclr(10)
    expected = two(pixels, seed=1, step=5)

    def local(context):
        start = 3 * context.replica_id_in_sync_group
        return tf.constant(pixels[start : start + 3])

    @tf.function
    def draw(rows):
        return two(rows, seed=1, step=tf.constant(5, tf.int64), first_row=distribute.first_row(3))

    values = mirrored.experimental_distribute_values_from_function(local)
    for received, wanted in zip(mirrored.run(draw, args=[values]), expected, strict=True):
        np.testing.assert_allclose(tf.concat(received.values, 0), wanted, atol=1e-3)


@pytest.mark.parametrize(
    "wrong, message",
    [
        ({"image_size": 0}, "received 0"),
        ({"crop_area": (0.5, 1.5)}, r"crop_area .* received \(0.5, 1.5\)"),
        ({"crop_ratio": (2.0, 1.0)}, "crop_ratio"),
        ({"flip": 1.5}, r"flip must lie in \[0, 1\]; received 1.5"),
        ({"contrast": -1}, "contrast must be at least 0"),
        ({"hue": 0.7}, r"hue must lie in \[0, 0.5\]"),
        ({"blur_sigma": (0.0, 1.0)}, "blur_sigma"),
    ],
)
def test_values_out_of_range_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        views.TwoViews(**({"image_size": 8} | wrong))


@pytest.mark.parametrize("shape", [(8, 8, 3), (2, 8, 8, 4)])
def test_images_of_another_form_are_refused(shape):
    with pytest.raises(ValueError, match="images must be a batch"):
        views.simclr(8)(np.zeros(shape, "uint8"), seed=0, step=0)


def test_views_survive_their_config():
    two = views.simclr(96, blur_sigma=(0.2, 1.0))
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(two))
    assert again.get_config() == two.get_config()


def test_the_presets_are_the_papers():
    assert views.simclr(224).get_config()["blur_probability"] == 0.5
    small = views.simclr(32).get_config()
    assert (small["blur_probability"], small["brightness"], small["hue"]) == (0.0, 0.4, 0.1)
    assert views.simclr(28, channels=1).get_config()["crop_area"] == (0.3, 1.0)


def test_the_grid_begins_with_the_image(random):
    pixels = colours(random, 3)
    grid = views.view_grid(pixels, views.simclr(10), draws=2)
    assert grid.shape == (3, 5, 10, 10, 3) and grid.dtype == np.uint8
    np.testing.assert_array_equal(grid[:, 0], pixels)
