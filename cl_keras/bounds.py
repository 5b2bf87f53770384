"""What this machine has, and bounds that apply everywhere."""

import math
import operator
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

MAX_IMAGE_SIZE = 4096
"""Maximum side in pixels of the square images that encoders see."""
CPU_INFO = Path("/proc/cpuinfo")


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


def cores() -> int:
    """Number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def cpu_flags() -> set[str]:
    """The flags that Linux reports for the first CPU; empty on other systems."""
    try:
        lines = CPU_INFO.read_text().splitlines()
    except OSError:
        return set()
    return set(next((line for line in lines if line.startswith("flags")), "").split())


def memory_of_machine() -> int | None:
    """Main memory of this machine in bytes; None if unknown."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None


def check_memory(shape: Sequence[int], what: str, remedy: str) -> None:
    """Refuses an array of 32-bit numbers that is larger than the memory of this machine.

    Without the check, TensorFlow tries for up to a minute, and its error does not name the option.

    Args:
        shape: shape of the array.
        what: what the array is, for the message.
        remedy: what to do instead, for the message.

    Raises:
        ValueError: if it does not fit.
    """
    needed, there = 4 * math.prod(int(size) for size in shape), memory_of_machine()
    if there is not None and needed > there:
        sizes = " × ".join(f"{size:,}" for size in shape)
        raise ValueError(
            f"{what} of {sizes} numbers needs {needed / 2**30:,.0f} GiB, but this machine has "
            f"{there / 2**30:,.0f} GiB of memory. {remedy}"
        )
