"""Draws crops of photographs of any size, at the time they are decoded."""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from cl_keras.views.draws import CROP_COLUMNS, TRIES


@dataclasses.dataclass(frozen=True)
class Cropper:
    """Draws the crops of an image, one for each view.

    A pure function of (seed, epoch, index of the image): the same in any batch, thread, replica or
    process that decodes the image.

    Args:
        views: a `View` for each crop, of which only size, crop and flip are used.
        seed: int; default: 0.
    """

    views: tuple
    seed: int = 0

    @property
    def sizes(self) -> tuple[int, ...]:
        """Side of each crop in pixels, after resizing."""
        return tuple(view.image_size for view in self.views)

    def __call__(
        self, height: int, width: int, *, epoch: int, index: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """The crops of one image.

        Args:
            height: height of the image in pixels.
            width: width of the image in pixels.
            epoch: number of the epoch.
            index: index of the image in its data set.

        Returns:
            boxes: float64 `[v, 4]`, y, x, height and width in pixels, fractions allowed.
            flips: bool `[v]`, whether the crop is flipped left to right.
        """
        key = np.array([self.seed % 2**64, int(epoch) % 2**64], np.uint64)
        numbers = np.random.Generator(np.random.Philox(key=key, counter=[0, int(index), 0, 0]))
        block = numbers.random([len(self.views), CROP_COLUMNS])
        drawn = [
            boxes(row, height, width, view.crop_area, view.crop_ratio)
            for row, view in zip(block.tolist(), self.views, strict=True)
        ]
        return np.array(drawn), block[:, -1] < [view.flip for view in self.views]


def boxes(
    block: Sequence[float],
    height: int,
    width: int,
    area: tuple[float, float],
    ratio: tuple[float, float],
) -> tuple[float, float, float, float]:
    """`draws.crop_boxes` of one image, from its row of uniform numbers.

    Returns:
        y, x, height, width of the box.
    """
    log_low, log_high = math.log(ratio[0]), math.log(ratio[1])
    for drawn_area, drawn_ratio in zip(block[:TRIES], block[TRIES : 2 * TRIES], strict=True):
        pixels = (area[0] + (area[1] - area[0]) * drawn_area) * height * width
        aspect = math.exp(log_low + (log_high - log_low) * drawn_ratio)
        box_height, box_width = math.sqrt(pixels / aspect), math.sqrt(pixels * aspect)
        if box_height <= height and box_width <= width:
            down, right = block[2 * TRIES], block[2 * TRIES + 1]
            break
    else:  # the largest centered box with the nearest allowed ratio
        nearest = min(max(width / height, ratio[0]), ratio[1])
        box_height, box_width = min(height, width / nearest), min(width, height * nearest)
        down = right = 0.5
    return down * (height - box_height), right * (width - box_width), box_height, box_width
