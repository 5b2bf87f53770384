"""Patches of an image, and which they are: views for tasks that need no second photograph."""

import dataclasses
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from cl_keras.views.draws import LOOK_COLUMNS, Columns, uniform
from cl_keras.views.random_views import RandomViews
from cl_keras.views.stages import look
from cl_keras.views.view import View

# Added to seeds, so that no two draws of an image are alike.
_PATCHES, _LOOK = 2 << 32, 3 << 32


class Labeled(NamedTuple):
    """Views that carry the answer to a question about them.

    Attributes:
        images: float32 `[b, n, h, w, C]` in 0..255.
        label: int32, the answer; `[b]`, or `[b, n]` where each view has its own.
    """

    images: tf.Tensor
    label: tf.Tensor


class PatchViews:
    """Views that are cut from one crop of each image.

    A pure function of the images, the seed, the step and the row of the global batch. A subclass
    defines `from_crop`, and its patches get a look of their own where `look` is given.

    Args:
        crop: `View` of the crop that the patches are cut from; of it size, crop and flip are used.
        look: `View` of a patch, with its jitter, grayscale and blur; its `image_size` is the
            side of the patches. None for patches as they are.
    """

    def __init__(self, crop: View, look: View | None = None):
        self.crop, self.look = crop, look
        self._crops = RandomViews([_without_look(crop)])

    def from_crop(self, crops: tf.Tensor, block: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor | None]:
        """The patches of crops.

        Args:
            crops: float32 `[b, S, S, C]`.
            block: uniform `[b, columns]`, the draws of each image.

        Returns:
            patches: `[b, n, p, p, C]`.
            label: int32, or None where there is no question.
        """
        raise NotImplementedError(f"{type(self).__name__} must define from_crop(crops, block).")

    @property
    def columns(self) -> int:
        """Draws of each image that `from_crop` takes."""
        return 1

    @property
    def image_size(self) -> int:
        """Side of the first image that the encoder is shown."""
        return self.look.image_size if self.look else self.crop.image_size

    def __call__(self, images, *, seed, step, first_row=0):
        """The patches of each image.

        Args:
            images: `[b, H, W, C]`, uint8 or float in 0..255.
            seed: int or int tensor.
            step: int or int tensor; another step gives other patches.
            first_row: row of the global batch that `images` begin with; default: 0.

        Returns:
            `Labeled`; without a label, the images alone.
        """
        crops = self._crops(images, seed=seed, step=step, first_row=first_row)
        return self.finish(crops, seed=seed, step=step, first_row=first_row)

    def cropper(self, seed: int):
        """What draws the crop where photographs are decoded; `finish` makes patches of it."""
        return self._crops.cropper(seed)

    def finish(self, crops, *, seed, step, first_row=0):
        """Patches from crops that are cut already, a sequence of one; otherwise as a call."""
        (crop,) = crops
        seed, rows = tf.cast(seed, tf.int64), tf.shape(crop)[0]
        block = uniform(seed + _PATCHES, step, first_row, rows, self.columns)
        patches, label = self._compiled(tf.cast(crop, tf.float32), block)
        if self.look is not None:
            count = patches.shape[1]
            flat = tf.reshape(patches, [-1, *patches.shape[2:]])
            draws = uniform(seed + _LOOK, step, first_row * count, rows * count, LOOK_COLUMNS)
            patches = tf.reshape(look(flat, draws, self.look), [-1, *patches.shape[1:]])
        return patches if label is None else Labeled(patches, label)

    @tf.function(jit_compile=True, reduce_retracing=False, autograph=False)
    def _compiled(self, crops, block):
        return self.from_crop(crops, block)


@keras.saving.register_keras_serializable("cl_keras")
class RelativePositionViews(PatchViews):
    """The middle patch of a 3 × 3 grid and one of the eight around it (Doersch et al. 2015).

        0 1 2
        3 · 4      the label: where the second patch stands
        5 6 7

    Args:
        patch_size: side of a patch in pixels; default: 96.
        gap: pixels between patches, before the jitter; default: 48.
        jitter: pixels that each patch is moved at most, down or up, right or left; default: 7.
        defense: what hides chromatic aberration, which gives the position away:
            `"drop_channels"`, two of the three channels of each patch become the mean of the third,
            as in the authors' code; `"grayscale"`, each patch is gray with
            probability 0.66; or None. Images of other than three channels need none.
            Default: `"drop_channels"`.
        crop_area: (least, most) share of the image that the grid covers; default: (0.35, 1), which
            is what 398 pixels are of the authors' 150,000 to 450,000.

    NOTE: the authors also shrink a third of the patches to as few as 100 pixels and back, and add
    noise of ± 0.5 to the channels that they drop.

    Raises:
        ValueError: for a value out of its range.
    """

    def __init__(
        self,
        patch_size: int = 96,
        *,
        gap: int = 48,
        jitter: int = 7,
        defense: str | None = "drop_channels",
        crop_area: tuple[float, float] = (0.35, 1.0),
    ):
        if defense not in ("drop_channels", "grayscale", None):
            raise ValueError(
                f'defense must be "drop_channels", "grayscale" or None; received {defense!r}.'
            )
        if patch_size < 1 or gap < 0 or jitter < 0:
            raise ValueError(
                "patch_size must be at least 1, gap and jitter at least 0; received "
                f"{patch_size!r}, {gap!r} and {jitter!r}."
            )
        self.patch_size, self.gap, self.jitter = patch_size, gap, jitter
        self.defense, self.crop_area = defense, tuple(crop_area)
        side = 3 * patch_size + 2 * gap + 2 * jitter
        super().__init__(View(side, crop_area=crop_area, crop_ratio=(1.0, 1.0), flip=0.0))

    columns = 1 + 4 + 2
    image_size = property(lambda self: self.patch_size)

    def from_crop(self, crops, block):
        columns = Columns(block)
        label = tf.cast(columns.take(0, 8), tf.int32)
        cell = tf.where(label < 4, label, label + 1)  # of nine, without the middle
        cells = tf.stack([tf.fill(tf.shape(cell), 4), cell], axis=1)
        moved = tf.reshape(columns.take_many(4, 0, 2 * self.jitter + 1), [-1, 2, 2])
        pitch = self.patch_size + self.gap
        down = (cells // 3) * pitch + tf.cast(moved[..., 0], tf.int32)
        right = (cells % 3) * pitch + tf.cast(moved[..., 1], tf.int32)
        patches = windows(crops, down, right, self.patch_size)
        if crops.shape[-1] == 3 and self.defense:
            patches = self._defended(patches, columns)
        return patches, label

    def _defended(self, patches, columns):
        drawn = columns.take_many(2)[..., None, None, None]
        if self.defense == "grayscale":
            gray = tf.image.rgb_to_grayscale(patches)
            return tf.where(drawn < 0.66, tf.broadcast_to(gray, tf.shape(patches)), patches)
        kept = tf.one_hot(tf.cast(drawn[..., 0] * 3, tf.int32), 3)
        level = tf.reduce_sum(
            kept * tf.reduce_mean(patches, axis=[2, 3], keepdims=True), axis=-1, keepdims=True
        )
        return tf.where(kept > 0, patches, level)

    def get_config(self) -> dict[str, Any]:
        names = ("patch_size", "gap", "jitter", "defense", "crop_area")
        return {name: getattr(self, name) for name in names}

    @classmethod
    def from_config(cls, config):
        return cls(**config)


@keras.saving.register_keras_serializable("cl_keras")
class PatchGrid(PatchViews):
    """All patches of an overlapping grid, row by row (CPC v2, Hénaff et al. 2020).

    Args:
        patch_size: side of a patch in pixels; default: 80.
        stride: pixels from one patch to the next; default: 36.
        grid: patches along a side; default: 6, so that the crop is of 260 pixels.
        crop: `View` of the crop, whose size is replaced by that of the grid; default: None, crops
            of at least half of the image, flipped in every second case.
        look: `View` of the look of each patch; default: None.

    NOTE: the paper's 260 pixels hold 6 × 6 patches of 80 at a stride of 36.
    """

    def __init__(
        self,
        patch_size: int = 80,
        *,
        stride: int = 36,
        grid: int = 6,
        crop: View | None = None,
        look: View | None = None,
    ):
        if min(patch_size, stride, grid) < 1:
            raise ValueError(
                "patch_size, stride and grid must be at least 1; received "
                f"{patch_size!r}, {stride!r} and {grid!r}."
            )
        self.patch_size, self.stride, self.grid = patch_size, stride, grid
        side = patch_size + (grid - 1) * stride
        crop = View(side, crop_area=(0.5, 1.0)) if crop is None else _resized(crop, side)
        super().__init__(crop, None if look is None else _resized(look, patch_size))

    image_size = property(lambda self: self.patch_size)

    def from_crop(self, crops, block):
        starts = tf.range(self.grid) * self.stride
        cells = tf.zeros([tf.shape(crops)[0], 1], tf.int32) + tf.range(self.grid**2)
        down, right = tf.gather(starts, cells // self.grid), tf.gather(starts, cells % self.grid)
        return windows(crops, down, right, self.patch_size), None

    def get_config(self) -> dict[str, Any]:
        return {
            "patch_size": self.patch_size,
            "stride": self.stride,
            "grid": self.grid,
            "crop": dataclasses.asdict(self.crop),
            "look": self.look and dataclasses.asdict(self.look),
        }

    @classmethod
    def from_config(cls, config):
        return cls(**(config | views_from(config, "crop", "look")))


@keras.saving.register_keras_serializable("cl_keras")
class Rotations(PatchViews):
    """Each view turned by multiples of 90° (RotNet, Gidaris et al. 2018).

    The label of a view says by how many quarters it was turned, counterclockwise.

    Args:
        view: `View` of the crop, with its look.
        copies: how many of the four rotations of each view there are, in random order; default: 4,
            as in the authors' code.

    Raises:
        ValueError: for another number of copies than 1 to 4.
    """

    def __init__(self, view: View, *, copies: int = 4):
        if copies not in (1, 2, 3, 4):
            raise ValueError(f"copies must be 1, 2, 3 or 4; received {copies!r}.")
        self.view, self.copies = view, copies
        super().__init__(view, view)

    columns = 4

    def from_crop(self, crops, block):
        label = tf.argsort(block, axis=1)[:, : self.copies]
        turned = tf.stack([tf.image.rot90(crops, k) for k in range(4)], axis=1)
        return tf.gather(turned, label, batch_dims=1), label

    def get_config(self) -> dict[str, Any]:
        return {"view": dataclasses.asdict(self.view), "copies": self.copies}

    @classmethod
    def from_config(cls, config):
        return cls(**(config | views_from(config, "view")))


def windows(images: tf.Tensor, down: tf.Tensor, right: tf.Tensor, size: int) -> tf.Tensor:
    """Square windows of each image.

    Args:
        images: `[b, H, W, C]`.
        down: int32 `[b, n]`, first row of each window.
        right: int32 `[b, n]`, first column.
        size: side of a window in pixels.

    Returns:
        `[b, n, size, size, C]`.
    """
    strips = tf.gather(images, down[..., None] + tf.range(size), axis=1, batch_dims=1)
    return tf.gather(strips, right[..., None] + tf.range(size), axis=3, batch_dims=2)


def tiles(patches: tf.Tensor) -> tf.Tensor:
    """Patches side by side, as a picture of what the encoder is shown.

    Args:
        patches: `[n, g, p, p, C]`.

    Returns:
        `[n, r·p, c·p, C]`: r = c where g is a square number, otherwise a single row.
    """
    count, size, channels = patches.shape[1], *patches.shape[3:]
    grid = round(count**0.5)
    rows, columns = (grid, grid) if grid**2 == count else (1, count)
    cells = tf.reshape(patches, [-1, rows, columns, size, size, channels])
    side_by_side = tf.transpose(cells, [0, 1, 3, 2, 4, 5])
    return tf.reshape(side_by_side, [-1, rows * size, columns * size, channels])


def views_from(config: dict, *names: str) -> dict[str, View | None]:
    """The `View`s of a configuration, from their dicts."""
    return {name: config[name] and View(**config[name]) for name in names}


def relative_position(image_size: int, channels: int = 3, **changes) -> RelativePositionViews:
    """The views of Doersch et al. 2015 for images of a size.

    A grid of 398 pixels has patches of 96, gaps of 48 and a jitter of 7; another has the same
    shares of its side.

    Args:
        image_size: side of the grid in pixels, at most; default in the paper: 398.
        channels: number of channels; default: 3.
        **changes: arguments of `RelativePositionViews` to replace.
    """
    patch, jitter = max(1, int(image_size * 96 / 398)), round(image_size * 7 / 398)
    gap = max(0, (image_size - 3 * patch - 2 * jitter) // 2)
    defense = "drop_channels" if channels == 3 else None
    preset = {"patch_size": patch, "gap": gap, "jitter": jitter, "defense": defense}
    return RelativePositionViews(**(preset | changes))


def patch_grid(image_size: int, channels: int = 3, **changes) -> PatchGrid:
    """CPC v2's patches for images of a size: 260 pixels have 6 × 6 of 80, at a stride of 36.

    Args:
        image_size: side of the grid in pixels, at most.
        channels: number of channels; it makes no difference.
        **changes: arguments of `PatchGrid` to replace.
    """
    patch, grid = max(1, round(image_size * 80 / 260)), changes.get("grid", 6)
    stride = max(1, (image_size - patch) // max(1, grid - 1))
    return PatchGrid(**({"patch_size": patch, "stride": stride} | changes))


def rotations(image_size: int, channels: int = 3, *, copies: int = 4, **changes) -> Rotations:
    """RotNet's views: a random crop and flip without any jitter, in its four rotations.

    Args:
        image_size: side in pixels.
        channels: number of channels; it makes no difference.
        copies: see `Rotations`.
        **changes: arguments of `View` to replace.
    """
    preset = {"crop_area": (0.3, 1.0) if channels == 1 else (0.08, 1.0)}
    return Rotations(View(image_size, **(PLAIN | preset | changes)), copies=copies)


PLAIN = {
    "color_probability": 0.0,
    "grayscale_probability": 0.0,
    "blur_probability": 0.0,
    "solarize_probability": 0.0,
}
"""Arguments of a `View` that only crops and flips."""


def _without_look(view):
    return dataclasses.replace(view, **PLAIN)


def _resized(view, size):
    return dataclasses.replace(view, image_size=size)
