"""Pixels in another range are recognized, and the call in the message fixes them."""

import warnings

import numpy as np
import pytest
import tensorflow as tf

from cl_keras.data import load
from cl_keras.data.pixel_range import watch_scale

PIXELS = np.random.default_rng(0).integers(0, 256, [4, 8, 8, 3], "uint8")


@pytest.mark.parametrize(
    "images",
    [
        (PIXELS / 255).astype("float32"),
        (PIXELS / 127.5 - 1).astype("float32"),
        PIXELS.astype("float64"),
        PIXELS.astype("int64"),
        PIXELS.astype("uint16") * 257,
    ],
)
def test_the_call_that_the_error_names_gives_the_pixels(images):
    with pytest.raises(TypeError, match="must be uint8") as error:
        load(images)
    call = str(error.value).rpartition(": ")[2].rstrip(".")
    mended = eval(call, {"images": images})
    np.testing.assert_array_equal(load(mended).images(range(4)), PIXELS)


def test_values_in_no_usual_range_get_no_suggestion():
    with pytest.raises(TypeError, match="none of the usual ranges"):
        load(PIXELS.astype("float32") * 7 - 300)


@pytest.mark.parametrize("scale, shift, range_", [(255, 0, "0 … 1"), (127.5, 1, "-1 … 1")])
@pytest.mark.parametrize("form", ["images", "dict", "pair"])
def test_a_dataset_of_small_floats_warns_once(scale, shift, range_, form):
    images = (PIXELS / scale - shift).astype("float32")
    elements = {"images": images, "dict": {"image": images}, "pair": (images, np.arange(4))}[form]
    dataset = watch_scale(tf.data.Dataset.from_tensor_slices(elements).batch(2))
    with pytest.warns(UserWarning, match=f"have values in {range_}") as caught:
        found = [*dataset, *dataset]
    assert len(caught) == 1
    first = tf.nest.flatten(found[0])[0]
    np.testing.assert_array_equal(first, images[:2])


def test_pixels_in_the_right_range_cause_no_warning():
    dark = np.zeros([2, 4, 4, 3], "float32")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for images in (PIXELS, PIXELS.astype("float32"), dark):
            list(watch_scale(tf.data.Dataset.from_tensors(images)))
