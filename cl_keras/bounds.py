"""Bounds that apply everywhere."""

import operator
from typing import Any

MAX_IMAGE_SIZE = 4096
"""Maximum side in pixels of the square images that encoders see."""


def check_image_size(image_size: Any, at_least: int = 1) -> int:
    """Returns the side of a square image as an int, if it is valid.

    Args:
        image_size: int, or an object with `__index__`, but not bool.
        at_least: minimum side in pixels; default: 1.

    Raises:
        TypeError: not an integer.
        ValueError: less than `at_least` or more than `MAX_IMAGE_SIZE`.
    """
    if isinstance(image_size, bool) or not hasattr(image_size, "__index__"):
        raise TypeError(
            f"image_size must be an int, the side of a square in pixels; received {image_size!r}."
        )
    side = operator.index(image_size)
    if not at_least <= side <= MAX_IMAGE_SIZE:
        raise ValueError(
            f"image_size must be from {at_least} to {MAX_IMAGE_SIZE} pixels; received {side}."
        )
    return side
