"""`load`: every form is understood, and every mistake gets a helpful error."""

import pathlib

import numpy as np
import pytest
from PIL import Image

from cl_keras.data import load


@pytest.fixture
def array():
    return np.zeros([4, 6, 5], np.uint8)


def test_a_source_is_returned_as_it_is(array):
    source = load(array, labels=[0, 1, 0, 1])
    assert load(source) is source
    with pytest.raises(ValueError, match="already loaded: give image_size, channels when"):
        load(source, image_size=4, channels=3)
    with pytest.raises(ValueError, match="already loaded: give labels when"):
        load(source, labels=None)


def test_a_path_is_a_folder(tmp_path):
    Image.new("L", (4, 4)).save(tmp_path / "a.png")
    assert load(pathlib.Path(tmp_path), progress=False).names == ["a.png"]


@pytest.mark.parametrize(
    ("spec", "meant"),
    [
        ("fashion-mnist-mini", "Did you mean 'fashion_mnist_mini'?"),
        ("fashion_mnist/test", "Did you mean 'fashion_mnist_mini'?"),
        ("fodler:photos", "Did you mean 'folder:photos'?"),
        ("tdfs:cifar10/train", "Did you mean 'tfds:cifar10/train'?"),
        ("cifar10/train", "is written 'tfds:cifar10/train'."),
        ("folder:", ""),
        ("s3://bucket", ""),
    ],
)
def test_an_unknown_spec_lists_the_forms_and_the_nearest(spec, meant):
    with pytest.raises(ValueError) as error:
        load(spec)
    text = str(error.value)
    assert text.startswith(f"unknown images {spec!r}.") and meant in text
    assert ("Did you mean" in text) == ("Did you mean" in meant)
    assert all(form in text for form in ('"folder:PATH"', '"tfds:NAME/SPLIT"', "[n, h, w, c]"))


def test_a_folder_without_its_prefix_is_recognized(tmp_path):
    with pytest.raises(ValueError, match=f"Did you mean 'folder:{tmp_path}'"):
        load(str(tmp_path))


@pytest.mark.parametrize("spec", [None, 3, [np.zeros([2, 2], np.uint8)]])
def test_other_types_are_refused(spec):
    with pytest.raises(TypeError, match=f"from a {type(spec).__name__}; expected"):
        load(spec)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"image_size": 0}, ValueError, "image_size must be from 1 to 4096 pixels; received 0"),
        ({"image_size": (32, 32)}, TypeError, r"image_size must be an int.*received \(32, 32\)"),
        ({"channels": 4}, ValueError, r"channels must be 1 \(gray\), 3 \(color\).*received 4"),
        ({"image_size": 100_000}, ValueError, "image_size must be from 1 to 4096 pixels"),
        ({"labels": "yes"}, ValueError, "labels must be 'auto', None, a sequence of integers, or"),
        ({"labels": True}, ValueError, "labels must be 'auto', None, a sequence of integers, or"),
        ({"max_bad_share": 5}, ValueError, "max_bad_share must be from 0 to 1; received 5"),
    ],
)
def test_options_are_checked(array, options, error, message):
    with pytest.raises(error, match=message):
        load(array, **options)


def test_a_wrong_split_of_the_bundled_set_is_refused():
    with pytest.raises(ValueError, match="has the splits 'train' and 'test'; received 'val'"):
        load("fashion_mnist_mini/val")


def test_given_labels_need_arrays_or_folders():
    with pytest.raises(ValueError, match="are for arrays and folders, not for 'fashion_mnist_m"):
        load("fashion_mnist_mini", labels=[1, 2, 3])
