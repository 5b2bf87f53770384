"""Bounds that are the same everywhere."""

import operator
from typing import Any

MAX_IMAGE_SIZE = 4096
"""Largest side in pixels of the squares to which images are brought."""


def check_image_size(image_size: Any, at_least: int = 1) -> int:
    """The side of a square image as an int.

    Args:
        image_size: int or anything with `__index__`; a bool is refused.
        at_least: smallest side in pixels; default: 1.

    Raises:
        TypeError: not an integer.
        ValueError: less than `at_least`, or more than `MAX_IMAGE_SIZE`.
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
