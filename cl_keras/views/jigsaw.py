"""Views that cut an image into shuffled patches."""

import dataclasses
import itertools
import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from cl_keras.views.crops import Cropper
from cl_keras.views.patches import PatchViews, views_from, windows
from cl_keras.views.published import fitted
from cl_keras.views.random_views import RandomViews
from cl_keras.views.view import View

_JIGSAW = 1 << 32  # added to the seed, to draw the image and its jigsaw independently
_CANDIDATES = 20_000  # permutations to choose from


@keras.saving.register_keras_serializable("cl_keras")
class JigsawViews(PatchViews):
    """Patches of an image, in random order (Noroozi & Favaro 2016; Misra & van der Maaten 2020).

    A random crop is resized to `grid · cell_size` pixels and divided into `grid × grid` cells. From
    each cell a patch is taken at a random position, so that the patches do not touch. Each patch is
    flipped and changed in its look independently; then the patches are shuffled.

        one image, nine cells      nine patches, shuffled
             0 1 2
             3 4 5              6 0 3 8 1 5 2 7 4
             6 7 8

    A pure function of the images, the seed, the step and the row of the global batch. It returns
    float32 `[b, grid², p, p, C]`; with `num_permutations`, a `Labeled` of the patches and the index
    of their order in `permutations`.

    Args:
        cell_size: side of a cell in pixels.
        look: `View` of a patch: its side, flip, jitter, grayscale and blur.
        grid: number of cells along a side; default: 3.
        crop: `View` of the crop, whose size is replaced by that of the grid; default: None, crops
            of .6 to 1 of the image.
        num_permutations: P, the number of orders to draw from, chosen as far apart as possible, for
            tasks that predict the order; default: None, any order, without a label.

    Raises:
        ValueError: for a value out of range.
    """

    look: View

    def __init__(
        self,
        cell_size: int,
        look: View,
        *,
        grid: int = 3,
        crop: View | None = None,
        num_permutations: int | None = None,
    ):
        if not isinstance(grid, int) or grid < 2:
            raise ValueError(f"grid must be at least 2 cells per side; received {grid!r}.")
        if look.image_size > cell_size:
            raise ValueError(
                "A patch must fit into its cell; received patches of "
                f"{look.image_size} pixels and cell_size={cell_size!r}."
            )
        side = grid * cell_size
        if crop is None:
            crop = View(side, crop_area=(0.6, 1.0), flip=0.0)
        super().__init__(dataclasses.replace(crop, image_size=side), look)
        self.cell_size, self.grid, self.num_permutations = cell_size, grid, num_permutations
        self.permutations = (
            None if num_permutations is None else distant_permutations(num_permutations, grid**2)
        )

    @property
    def num_patches(self) -> int:
        return self.grid**2

    @property
    def columns(self) -> int:
        return 4 * self.num_patches

    def from_crop(self, crops: tf.Tensor, block: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor | None]:
        order, down, right, flip = tf.split(block, 4, axis=1)
        if self.permutations is None:
            label, cells = None, tf.argsort(order, axis=1)
        else:
            label = tf.cast(order[:, 0] * len(self.permutations), tf.int32)
            cells = tf.gather(tf.constant(self.permutations, tf.int32), label)
        room = self.cell_size - self.look.image_size + 1
        down = (cells // self.grid) * self.cell_size + tf.cast(down * room, tf.int32)
        right = (cells % self.grid) * self.cell_size + tf.cast(right * room, tf.int32)
        patches = windows(crops, down, right, self.look.image_size)
        flipped = (flip < self.look.flip)[..., None, None, None]
        return tf.where(flipped, patches[:, :, :, ::-1], patches), label

    def get_config(self) -> dict[str, Any]:
        return {
            "cell_size": self.cell_size,
            "look": dataclasses.asdict(self.look),
            "grid": self.grid,
            "crop": dataclasses.asdict(self.crop),
            "num_permutations": self.num_permutations,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "JigsawViews":
        return cls(**(config | views_from(config, "crop", "look")))


@keras.saving.register_keras_serializable("cl_keras")
class PIRLViews:
    """A view of each image, and its jigsaw, for PIRL.

    Args:
        image_view: a `RandomViews` of one view.
        jigsaw: a `JigsawViews`.
    """

    num_views = 1

    def __init__(self, image_view: RandomViews, jigsaw: JigsawViews):
        self.image_view, self.jigsaw = image_view, jigsaw

    @property
    def image_size(self) -> int:
        return self.image_view.image_size

    def __call__(
        self, images: Any, *, seed: Any, step: Any, first_row: Any = 0
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """A view and the patches of each image, drawn independently.

        Args:
            images: `[b, H, W, C]`, uint8 or float in 0..255.
            seed: int or int tensor.
            step: int or int tensor.
            first_row: row of the global batch at which `images` begin; default: 0.

        Returns:
            view: float32 `[b, image_size, image_size, C]` in 0..255.
            patches: float32 `[b, num_patches, p, p, C]` in 0..255.
        """
        draw = {"step": step, "first_row": first_row}
        (view,) = self.image_view(images, seed=seed, **draw)
        return view, self.jigsaw(images, seed=tf.cast(seed, tf.int64) + _JIGSAW, **draw)

    def cropper(self, seed: int) -> Cropper:
        """Draws the two crops while photographs are decoded; `finish` makes views of them."""
        return RandomViews([*self.image_view.views, self.jigsaw.crop]).cropper(seed)

    def finish(
        self, crops: Sequence[tf.Tensor], *, seed: Any, step: Any, first_row: Any = 0
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Makes the view and the patches from their two crops, already cut."""
        whole, cells = crops
        draw = {"step": step, "first_row": first_row}
        (view,) = self.image_view.finish([whole], seed=seed, **draw)
        return view, self.jigsaw.finish([cells], seed=tf.cast(seed, tf.int64) + _JIGSAW, **draw)

    def get_config(self) -> dict[str, Any]:
        serialize = keras.saving.serialize_keras_object
        return {"image_view": serialize(self.image_view), "jigsaw": serialize(self.jigsaw)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "PIRLViews":
        return cls(**{k: keras.saving.deserialize_keras_object(v) for k, v in config.items()})


def distant_permutations(count: int, length: int = 9, *, seed: int = 0) -> np.ndarray:
    """Permutations that differ from each other in as many positions as possible.

    They are chosen one after the other, to maximize the smallest Hamming distance to those already
    chosen, and among these the sum of distances. Noroozi & Favaro 2016 (algorithm 1) choose by the
    sum among all `length!` permutations; here the candidates are 20,000 random ones, or all if
    there are fewer, which takes less than a second for a hundred.

    Args:
        count: P, the number of permutations.
        length: length of a permutation; default: 9.
        seed: of the candidates; default: 0.

    Returns:
        int32 `[count, length]`, all different.

    Raises:
        ValueError: if there are not that many.
    """
    total = math.factorial(length)
    if not 1 <= count <= min(total, _CANDIDATES):
        raise ValueError(
            f"num_permutations must be from 1 to {min(total, _CANDIDATES)} for {length} patches; "
            f"received {count!r}."
        )
    if total <= _CANDIDATES:
        candidates = np.array(list(itertools.permutations(range(length))), np.int8)
    else:
        generator = np.random.Generator(np.random.Philox(key=[seed, length]))
        identity = np.tile(np.arange(length, dtype=np.int8), [_CANDIDATES, 1])
        candidates = np.unique(generator.permuted(identity, axis=1), axis=0)
    chosen = [len(candidates) // 2]
    least, total_distance = np.full(len(candidates), length), np.zeros(len(candidates), np.int64)
    while len(chosen) < count:
        distance = (candidates != candidates[chosen[-1]]).sum(axis=1)
        least = np.minimum(least, distance)
        total_distance += distance
        rank = np.where(least > 0, least * (length * count + 1) + total_distance, -1)
        chosen.append(int(rank.argmax()))
    return candidates[chosen].astype(np.int32)


def jigsaw(
    image_size: int, channels: int = 3, *, num_permutations: int | None = None, **changes
) -> JigsawViews:
    """PIRL's jigsaw (facebookresearch/vissl), scaled to the size of the images.

    | images | side of the 3 × 3 cells | side of the patches |
    |---|---|---|
    | above 64 px | 85/224 of the image | 64/224 of the image |
    | up to 64 px | a third of the image | a tenth less than the cell, at least 1 px less |

    So 224 px give cells of 85 and patches of 64; 28 px give 9 and 8. Small patches keep most of
    their cell, since there is little in it. Each patch is flipped with probability .5, always has a
    jitter of .4 .4 .4 .2, and is gray with probability .2.

    Args:
        image_size: side of the images in pixels.
        channels: number of channels; default: 3.
        num_permutations: see `JigsawViews`; default: None.
        **changes: arguments of `View` to override in the look of a patch.
    """
    if image_size > 64:
        cell, patch = round(image_size * 85 / 224), round(image_size * 64 / 224)
    else:
        cell = image_size // 3
        patch = cell - max(1, round(cell / 10))
    (look,) = fitted([_pirl(patch, (1.0, 1.0))], channels, patch, changes)
    return JigsawViews(cell, look, num_permutations=num_permutations)


def pirl(image_size: int, channels: int = 3, **changes) -> PIRLViews:
    """PIRL's image and jigsaw (Misra & van der Maaten 2020; facebookresearch/vissl).

    The image view has crops of .08–1, always a jitter of .4 .4 .4 .2, grayscale .2 and no blur; see
    `jigsaw` for the patches.

    NOTE: the authors' random photometric filters (`ImgPilRandomPhotometric`) are left out.

    Args:
        image_size: side of the image view in pixels.
        channels: number of channels; default: 3.
        **changes: arguments of `View` to override, in the image view and, except for size and crop,
            in the look of a patch.
    """
    view = fitted([_pirl(image_size, (0.08, 1.0))], channels, image_size, changes)
    of_patches = {k: v for k, v in changes.items() if not k.startswith("crop_")}
    return PIRLViews(RandomViews(view), jigsaw(image_size, channels, **of_patches))


def _pirl(image_size, crop_area):
    return View(
        image_size,
        crop_area=crop_area,
        brightness=0.4,
        contrast=0.4,
        saturation=0.4,
        hue=0.2,
        color_probability=1.0,
        blur_probability=0.0,
    )
