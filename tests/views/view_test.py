import numpy as np
import pytest

from cl_keras.views import View, changed


@pytest.mark.parametrize(
    "wrong, message",
    [
        ({"image_size": 0}, "received 0"),
        ({"crop_area": (0.5, 1.5)}, r"crop_area .* received \(0.5, 1.5\)"),
        ({"crop_area": 0.5}, "crop_area must be .* received 0.5"),
        ({"crop_ratio": (2.0, 1.0)}, "crop_ratio"),
        ({"flip": 1.5}, r"flip must lie in \[0, 1\]; received 1.5"),
        ({"solarize_probability": -0.1}, "solarize_probability"),
        ({"contrast": -1}, "contrast must be at least 0"),
        ({"hue": 0.7}, r"hue must lie in \[0, 0.5\]"),
        ({"blur_sigma": (0.0, 1.0)}, "blur_sigma"),
        ({"blur_kernel": 2.0}, "blur_kernel"),
    ],
)
def test_values_out_of_range_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        View(**({"image_size": 8} | wrong))


def test_pairs_of_a_file_are_pairs():
    assert View(8, crop_area=[0.2, 1]) == View(8, crop_area=(0.2, 1.0))


def test_a_change_applies_to_all_views_or_to_each():
    pair = [View(8), View(8)]
    first, second = changed(pair, {"hue": 0.1, "blur_probability": [1.0, 0.1]})
    assert (first.hue, second.hue) == (0.1, 0.1)
    assert (first.blur_probability, second.blur_probability) == (1.0, 0.1)
    first, second = changed(pair, {"crop_area": [0.2, 1.0]})
    assert first.crop_area == second.crop_area == (0.2, 1.0)
    first, second = changed(pair, {"crop_area": [[0.2, 1.0], [0.1, 0.3]]})
    assert (first.crop_area, second.crop_area) == ((0.2, 1.0), (0.1, 0.3))


@pytest.mark.parametrize(
    "wrong, message",
    [
        ({"gray_probability": 0.1}, "no argument gray_probability; it has .*grayscale_prob"),
        ({"hue": [0.1, 0.1, 0.1]}, "a list of 2, one per view"),
    ],
)
def test_changes_that_do_not_fit_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        changed([View(8), View(8)], wrong)


def test_a_size_that_is_not_an_integer_is_refused():
    with pytest.raises(TypeError, match="image_size must be an int.*received 8.0"):
        View(image_size=8.0)
    assert isinstance(View(image_size=np.int64(8)).image_size, int)
