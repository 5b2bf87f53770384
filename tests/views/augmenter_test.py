import keras
import numpy as np
import pytest

from cl_keras.views import KerasViews, simclr
from cl_keras.views.augmenter import as_views
from tests.tiny import tiny_simclr


@pytest.fixture
def augmenter():
    layers = [keras.Input([12, 12, 1]), keras.layers.RandomBrightness(0.5, seed=0)]
    return keras.Sequential(layers)


def test_a_keras_augmenter_is_called_for_each_view(augmenter, random):
    with pytest.warns(UserWarning, match="cannot be repeated or resumed exactly"):
        made = as_views(augmenter)
    assert (made.num_views, made.image_size) == (2, 12)
    pixels = random.integers(60, 190, [5, 12, 12, 1]).astype("uint8")
    first, second = (view.numpy() for view in made(pixels, seed=0, step=0))
    for view in (first, second):
        shift = view - pixels
        np.testing.assert_allclose(np.median(shift, axis=(1, 2)), shift.mean(axis=(1, 2)), atol=20)
        assert np.abs(shift).max() > 5
    assert np.abs(first - second).max() > 5


def test_a_method_trains_with_one(augmenter, random):
    with pytest.warns(UserWarning, match="Keras layers have"):
        model = tiny_simclr(views=augmenter)
    pixels = random.integers(0, 256, [8, 12, 12, 1]).astype("uint8")
    history = model.fit(pixels, batch_size=4, verbose=0)
    assert np.isfinite(history.history["loss"]).all()
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(model.views))
    assert isinstance(again, KerasViews) and again.num_views == 2


def test_other_views_are_refused_when_the_model_is_made():
    for wrong in (lambda images: images, 3):
        with pytest.raises(ValueError, match="views must be callable as views.images, seed="):
            tiny_simclr(views=wrong)
    made = simclr(12, 1)
    assert as_views(made) is made
    as_views(lambda images, **draw: (images, images))
    with pytest.raises(ValueError, match="num_views must be at least 1"):
        KerasViews(keras.layers.RandomFlip(), num_views=0)
