import numpy as np

from cl_keras.data import crop_kernel


def test_a_part_is_rounded_to_whole_levels():
    """By hand: the middle of two pixels is their mean, rounded half up."""
    image = np.array([[[10], [20], [31]]], np.uint8)
    out = np.empty([1, 1, 1], np.uint8)
    where = (np.float32(number) for number in (0, 1.5, 1, 1))
    crop_kernel.cut_bytes(image, *where, False, out)
    assert out.item() == 26  # 25.5
