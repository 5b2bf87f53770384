import numpy as np
import pytest
import tensorflow as tf

from cl_keras import views


@pytest.fixture
def pixels(random):
    return random.integers(0, 256, [3, 10, 10, 3]).astype("uint8")


def test_the_grid_begins_with_the_image(pixels):
    grid = views.view_grid(pixels, views.simclr(10), draws=2)
    assert grid.shape == (3, 5, 10, 10, 3) and grid.dtype == np.uint8
    np.testing.assert_array_equal(grid[:, 0], pixels)
    for step in range(2):
        drawn = tf.stack(views.simclr(10)(pixels, seed=0, step=step), axis=1)
        np.testing.assert_array_equal(grid[:, 1 + 2 * step : 3 + 2 * step], np.round(drawn))


def test_views_that_carry_more_than_images(pixels):
    def flipped(images, seed, step, first_row=0):
        label = tf.range(3)
        return {"left": images[:, :, ::-1], "deep": (images, label), "ids": tf.ones([3, 4])}

    grid = views.view_grid(pixels, flipped)
    assert grid.shape == (3, 3, 10, 10, 3)
    for column, expected in enumerate((pixels, pixels, pixels[:, :, ::-1])):
        np.testing.assert_array_equal(grid[:, column], expected)


@pytest.mark.parametrize(
    "made, columns, side",
    [
        (views.jigsaw(10, num_permutations=4), 2, 6),
        (views.pirl(10), 3, 10),
        (views.relative_position(10), 2, 4),
        (views.rotations(6), 2, 12),
    ],
)
def test_patches_are_laid_side_by_side(pixels, made, columns, side):
    assert views.view_grid(pixels, made).shape == (3, columns, side, side, 3)


def test_views_without_images_are_refused(pixels):
    with pytest.raises(ValueError, match="must give images with 3 channels"):
        views.view_grid(pixels, lambda images, seed, step: tf.range(3))
