import numpy as np
import pytest
import tensorflow as tf

from cl_keras import views
from cl_keras.views import stages
from cl_keras.views.draws import CROP_COLUMNS, uniform

LOOK = {"blur_probability": 0.5, "blur_sigma": (1.0, 2.0), "solarize_probability": 0.3}


@pytest.fixture
def drawn(random):
    pixels = random.integers(0, 256, [5, 20, 14, 3]).astype("uint8")
    return tf.constant(pixels), uniform(2, 3, 0, 5, CROP_COLUMNS + 8)


def test_the_form_for_a_gpu_makes_the_same_views(drawn):
    images, block = drawn
    view = views.View(12, **LOOK)
    expected = stages._maker(view, True, True)(images, block)
    np.testing.assert_allclose(stages.make(images, block, view), expected, atol=5e-3)


@pytest.mark.parametrize("most", [1, 2])
def test_chunks_change_nothing(drawn, monkeypatch, most):
    """One at a time, where a blur may be left out; two at a time, with a remainder of one."""
    images, block = drawn
    view = views.View(12, **LOOK, hue=0.19)
    expected = stages.make(images, block, view)
    assert np.abs(expected[0] - expected[1]).max() > 5
    stages._maker.cache_clear()
    monkeypatch.setattr(stages, "MIN_PIXELS", 0)
    monkeypatch.setattr(stages, "MAX_PIXELS", most * 12**2)
    received = stages.make(images, block, view)
    np.testing.assert_allclose(received, expected, atol=2e-3)
    stages._maker.cache_clear()
