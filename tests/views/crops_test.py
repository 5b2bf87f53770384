import pickle

import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

from cl_keras import views
from cl_keras.views import RandomViews, View
from cl_keras.views.crops import Cropper, boxes
from cl_keras.views.draws import CROP_COLUMNS, Columns, crop_boxes, uniform


def test_boxes_are_those_that_the_device_draws():
    block = uniform(3, 1, 0, 300, CROP_COLUMNS)
    for height, width in ((30, 40), (10, 200)):
        expected = np.stack(crop_boxes(Columns(block), height, width, (0.1, 0.9), (0.5, 2.0)), 1)
        received = [boxes(row, height, width, (0.1, 0.9), (0.5, 2.0)) for row in block.numpy()]
        np.testing.assert_allclose(received, expected, rtol=1e-4, atol=1e-3)


def drawn(count, view, height=400, width=500):
    cropper = Cropper((view,), seed=5)
    found = [cropper(height, width, epoch=2, index=i) for i in range(count)]
    return np.array([f[0][0] for f in found]), np.array([f[1][0] for f in found])


def test_100_000_draws_have_the_distributions_of_the_paper():
    """For crops that always fit, area, ratio, position and flip follow their distributions."""
    view = View(8, crop_area=(0.1, 0.4), crop_ratio=(0.8, 1.25), flip=0.3)
    where, flips = drawn(100_000, view)
    y, x, height, width = where.T
    assert (where >= 0).all()
    assert (y + height <= 400).all() and (x + width <= 500).all()
    uniforms = {
        "area": (height * width / (400 * 500) - 0.1) / 0.3,
        "ratio": (np.log(width / height) - np.log(0.8)) / np.log(1.25 / 0.8),
        "down": y / (400 - height),
        "right": x / (500 - width),
    }
    for name, values in uniforms.items():
        assert stats.kstest(values, "uniform").pvalue > 1e-3, name
    assert np.abs(np.corrcoef([*uniforms.values(), flips]) - np.eye(5)).max() < 0.015
    assert flips.mean() == pytest.approx(0.3, abs=0.005)


def test_draws_depend_only_on_seed_epoch_and_index():
    cropper = views.simclr(32).cropper(seed=1)
    assert cropper.sizes == (32, 32)
    where, flips = cropper(100, 80, epoch=3, index=9)
    assert where.shape == (2, 4) and flips.shape == (2,)
    assert np.abs(where[0] - where[1]).max() > 1
    again = pickle.loads(pickle.dumps(cropper))(100, 80, epoch=3, index=9)
    np.testing.assert_array_equal(again[0], where)
    np.testing.assert_array_equal(again[1], flips)
    others = [
        views.simclr(32).cropper(seed=2)(100, 80, epoch=3, index=9),
        cropper(100, 80, epoch=4, index=9),
        cropper(100, 80, epoch=3, index=10),
    ]
    for other in others:
        assert np.abs(other[0] - where).max() > 1
    np.testing.assert_array_equal(cropper(100, 80, epoch=-1, index=0)[0].shape, (2, 4))


def test_boxes_from_the_same_draws_scale_with_the_image():
    """Boxes from the same random numbers scale with the image."""
    cropper = views.simclr(32, crop_ratio=(1.0, 1.0)).cropper(seed=1)
    small, large = (cropper(side, side, epoch=0, index=4)[0] for side in (50, 500))
    np.testing.assert_allclose(10 * small, large, rtol=1e-9)


@pytest.mark.parametrize(
    "made, sizes",
    [
        (views.swav(28, small_views=2), (28, 28, 12, 12)),
        (views.pirl(28), (28, 27)),
        (views.jigsaw(28), (27,)),
        (views.relative_position(96), (95,)),
        (views.patch_grid(260), (260,)),
        (views.rotations(20), (20,)),
    ],
)
def test_every_kind_of_views_can_be_finished_from_its_crops(random, made, sizes):
    cropper = made.cropper(seed=0)
    assert cropper.sizes[0] == sizes[0] and len(cropper.sizes) == len(sizes)
    crops = [random.integers(0, 256, [2, s, s, 3]).astype("uint8") for s in cropper.sizes]
    whole = tf.nest.flatten(made.finish(crops, seed=1, step=2))
    second = [crop[1:] for crop in crops]
    part = tf.nest.flatten(made.finish(second, seed=1, step=2, first_row=1))
    images = random.integers(0, 256, [2, 40, 50, 3]).astype("uint8")
    shapes = [tensor.shape for tensor in tf.nest.flatten(made(images, seed=1, step=2))]
    assert [tensor.shape for tensor in whole] == shapes
    for received, expected in zip(part, whole, strict=True):
        np.testing.assert_allclose(received, expected[1:], atol=1e-2)


def test_a_cropper_draws_as_its_views_specify():
    still = View(4, crop_area=(1.0, 1.0), crop_ratio=(2.0, 2.0), flip=1.0)
    where, flips = RandomViews([still]).cropper(0)(10, 20, epoch=0, index=0)
    np.testing.assert_allclose(where, [[0, 0, 10, 20]], atol=1e-9)
    assert flips.all()
