import concurrent.futures

import numpy as np
import pytest
import tensorflow as tf

from cl_keras import bounds, loops, views
from cl_keras.views import on_cpu, stages
from cl_keras.views.draws import CROP_COLUMNS, uniform

LOOK = {"blur_probability": 0.5, "blur_sigma": (1.0, 2.0), "solarize_probability": 0.3}


def drawn(random, channels=3, rows=24):
    pixels = random.integers(0, 256, [rows, 20, 14, channels]).astype("uint8")
    return tf.constant(pixels), uniform(2, 3, 0, rows, CROP_COLUMNS + 8)


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_views_equal_those_of_the_gpu_form(random, channels):
    images, block = drawn(random, channels)
    view = views.View(12, **LOOK)
    expected = stages._by_matrices(view, True)(images, block)
    difference = np.abs(stages.make(images, block, view) - expected)
    assert np.quantile(difference, 0.999) < 1e-2  # one that solarizes may just not
    assert np.median(difference) < 1e-4 and difference.max() < 1


def test_a_look_equals_that_of_the_gpu_form(random):
    images, block = drawn(random)
    view = views.View(14, **LOOK)
    images, block = images[:, :14], block[:, CROP_COLUMNS:]
    for crops in (images, tf.cast(images, tf.float16)):
        expected = stages._by_matrices(view, False)(crops, block)
        np.testing.assert_allclose(stages.look(crops, block, view), expected, atol=1e-2)


def test_threads_change_nothing(random, monkeypatch):
    images, block = drawn(random)
    view = views.View(12, **LOOK)
    expected = stages.make(images, block, view)
    monkeypatch.setattr(on_cpu, "MIN_PIXELS", 1)
    monkeypatch.setattr(bounds, "cores", lambda: 3)
    threads = []
    pool = concurrent.futures.ThreadPoolExecutor(3, initializer=lambda: threads.append(1))
    monkeypatch.setattr(loops, "_pool", lambda *_: pool)
    np.testing.assert_array_equal(stages.make(images, block, view), expected)
    assert threads
    pool.shutdown()


def test_no_images_have_no_views(random):
    images, block = drawn(random)
    made = stages.make(images[:0], block[:0], views.View(12))
    assert made.shape == [0, 12, 12, 3] and made.dtype == tf.float32
