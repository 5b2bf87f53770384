"""An image as a heap of its own pieces."""

import keras
import tensorflow as tf

from cl_keras.views.draws import uniform
from cl_keras.views.one_view import OneView

_PIECES, _CUT, _LOOK = (n << 32 for n in (1, 2, 3))  # added to seeds: no two draws are alike


@keras.saving.register_keras_serializable("cl_keras")
class Jigsaw:
    """Patches of an image, in random order (Noroozi & Favaro 2016, as Misra & van der Maaten 2020).

    A random crop is resized to `grid · cell_size` pixels and divided into `grid × grid` cells. From
    each cell a patch of `patch_size` is taken at a random place, so that the patches do not touch.
    Each patch is flipped and coloured on its own; then the patches are put in random order.

        one image, nine cells      nine patches, shuffled
             0 1 2
             3 4 5              6 0 3 8 1 5 2 7 4
             6 7 8

    A pure function of the images, the seed, the step and the row of the global batch.

    Args:
        cell_size: side of a cell in pixels.
        patch_size: side of a patch; the difference is the jitter.
        grid: cells along a side.
        crop_area: (least, most) share of the image that the crop covers.
        crop_ratio: (least, most) width over height of the crop.
        flip: probability that a patch is flipped left to right.
        brightness: factor of a patch, drawn from 1 ± this, at least 0.
        contrast: likewise, about the patch's mean grey.
        saturation: likewise.
        hue: turns of the colour circle, drawn from ± this; at most 0.5.
        color_probability: probability that the four above apply.
        grey_probability: probability that a patch of a colour image ends grey.

    Raises:
        ValueError: for a value out of its range.
    """

    def __init__(
        self,
        cell_size,
        patch_size,
        *,
        grid=3,
        crop_area=(0.6, 1.0),
        crop_ratio=(3 / 4, 4 / 3),
        flip=0.5,
        brightness=0.4,
        contrast=0.4,
        saturation=0.4,
        hue=0.2,
        color_probability=1.0,
        grey_probability=0.2,
    ):
        if not isinstance(grid, int) or grid < 2:
            raise ValueError(f"A jigsaw has a grid of at least 2 cells a side; received {grid!r}.")
        if not 1 <= patch_size <= cell_size:
            raise ValueError(
                "A patch must fit into its cell; received "
                f"patch_size={patch_size!r}, cell_size={cell_size!r}."
            )
        self.cell_size, self.patch_size, self.grid = cell_size, patch_size, grid
        self._crop = OneView(
            grid * cell_size,
            crop_area=crop_area,
            crop_ratio=crop_ratio,
            flip=0.0,
            color_probability=0.0,
            grey_probability=0.0,
            blur_probability=0.0,
        )
        self._look = OneView(
            patch_size,
            crop_area=(1.0, 1.0),
            crop_ratio=(1.0, 1.0),
            flip=flip,
            brightness=brightness,
            contrast=contrast,
            saturation=saturation,
            hue=hue,
            color_probability=color_probability,
            grey_probability=grey_probability,
            blur_probability=0.0,
        )

    @property
    def num_patches(self):
        return self.grid**2

    @property
    def image_size(self):
        return self.patch_size

    def __call__(self, images, *, seed, step, first_row=0):
        """The patches of each image.

        Args:
            images: `[B, H, W, C]`, uint8 or float in 0..255, `C` 1 or 3.
            seed: int or int tensor.
            step: int or int tensor; another step gives other patches.
            first_row: row of the global batch that `images` begin with.

        Returns:
            float32 `[B, num_patches, patch_size, patch_size, C]` in 0..255.
        """
        seed = tf.cast(seed, tf.int64)
        (whole,) = self._crop(images, seed=seed, step=step, first_row=first_row)
        count, rows = self.num_patches, tf.shape(whole)[0]
        block = uniform(seed + _CUT, step, first_row, rows, 3 * count)
        pieces = self._cut(whole, block)
        coloured = self._look(
            tf.reshape(pieces, [-1, *pieces.shape[2:]]),
            seed=seed + _LOOK,
            step=step,
            first_row=first_row * count,
        )
        return tf.reshape(coloured[0], [-1, *pieces.shape[1:]])

    @tf.function(jit_compile=True, reduce_retracing=False, autograph=False)
    def _cut(self, images, block):
        """The cells in random order, and a patch of each.

        Args:
            images: `[B, S, S, C]`, S = grid · cell_size.
            block: uniform `[B, 3 · num_patches]`.

        Returns:
            `[B, num_patches, patch_size, patch_size, C]`.
        """
        grid, cell, channels = self.grid, self.cell_size, images.shape[-1]
        order, *offsets = tf.split(block, 3, axis=1)
        cells = tf.reshape(images, [-1, grid, cell, grid, cell, channels])
        cells = tf.reshape(
            tf.transpose(cells, [0, 1, 3, 2, 4, 5]), [-1, self.num_patches, cell, cell, channels]
        )
        cells = tf.gather(cells, tf.argsort(order, axis=1), batch_dims=1)
        down, right = (
            tf.cast(offset * (cell - self.patch_size + 1), tf.int32)[..., None]
            + tf.range(self.patch_size)
            for offset in offsets
        )
        strips = tf.gather(cells, down, axis=2, batch_dims=2)
        return tf.gather(strips, right, axis=3, batch_dims=2)

    def get_config(self):
        look = self._look.get_config()
        own = ("flip", "brightness", "contrast", "saturation", "hue")
        own += ("color_probability", "grey_probability")
        return {
            "cell_size": self.cell_size,
            "patch_size": self.patch_size,
            "grid": self.grid,
            "crop_area": self._crop.crop_area,
            "crop_ratio": self._crop.crop_ratio,
            **{name: look[name] for name in own},
        }

    @classmethod
    def from_config(cls, config):
        return cls(**config)


@keras.saving.register_keras_serializable("cl_keras")
class PIRLViews:
    """A view of each image, and its jigsaw: the two sides of PIRL.

    Args:
        image_view: a `OneView`.
        jigsaw: a `Jigsaw`.
    """

    num_views = 1

    def __init__(self, image_view, jigsaw):
        self.image_view, self.jigsaw = image_view, jigsaw

    @property
    def image_size(self):
        return self.image_view.image_size

    def __call__(self, images, *, seed, step, first_row=0):
        """A view and the patches of each image, drawn independently.

        Args:
            images: `[B, H, W, C]`, uint8 or float in 0..255, `C` 1 or 3.
            seed: int or int tensor.
            step: int or int tensor.
            first_row: row of the global batch that `images` begin with.

        Returns:
            view: float32 `[B, image_size, image_size, C]` in 0..255.
            patches: float32 `[B, num_patches, patch_size, patch_size, C]` in 0..255.
        """
        draw = {"step": step, "first_row": first_row}
        view = self.image_view(images, seed=seed, **draw)[0]
        return view, self.jigsaw(images, seed=tf.cast(seed, tf.int64) + _PIECES, **draw)

    def get_config(self):
        serialize = keras.saving.serialize_keras_object
        return {"image_view": serialize(self.image_view), "jigsaw": serialize(self.jigsaw)}

    @classmethod
    def from_config(cls, config):
        return cls(**{k: keras.saving.deserialize_keras_object(v) for k, v in config.items()})


def jigsaw(image_size, channels=3, **changes):
    """The jigsaw that goes with images of a size.

    | images | cells | patches | source |
    |---|---|---|---|
    | above 64 px | 3 × 3 of `85/224` of the side | `64/224` of the side | facebookresearch/vissl |
    | to 64 px | 3 × 3 of a third of the side | a tenth of the cell less, at least 1 px | scaled |

    So 224 px give cells of 85 and patches of 64; 28 px give 9 and 8. Small patches keep nearly all
    of their cell, since there is little in it.

    Args:
        image_size: side of the images in pixels.
        channels: 1 or 3; it makes no difference here, grey images have no hue to change.
        **changes: arguments of `Jigsaw` to replace.
    """
    if image_size > 64:
        cell, patch = round(image_size * 85 / 224), round(image_size * 64 / 224)
    else:
        cell = image_size // 3
        patch = cell - max(1, round(cell / 10))
    return Jigsaw(**({"cell_size": cell, "patch_size": patch} | changes))


def pirl(image_size, channels=3, **changes):
    """The views of PIRL for a size and kind of image.

    The view of the image has crops of .08–1 (grey images .3–1, as `simclr`), jitter .4 .4 .4 .2 and
    grey .2; facebookresearch/vissl `pirl_jigsaw_4node_resnet50.yaml`, without its random
    photometric filter.

    Args:
        image_size: side of the image view in pixels; `jigsaw` says how large the patches are.
        channels: 1 or 3.
        **changes: arguments of `Jigsaw` to replace.
    """
    view = OneView(
        image_size,
        crop_area=(0.08, 1.0) if channels == 3 else (0.3, 1.0),
        brightness=0.4,
        contrast=0.4,
        saturation=0.4,
        hue=0.2,
        color_probability=1.0,
        grey_probability=0.2,
        blur_probability=0.0,
    )
    return PIRLViews(view, jigsaw(image_size, channels, **changes))


def tiles(patches):
    """Patches side by side, as a picture of what the encoder is shown.

    Args:
        patches: `[n, g², p, p, C]`.

    Returns:
        `[n, g·p, g·p, C]`.
    """
    count, size, channels = patches.shape[1], *patches.shape[3:]
    grid = round(count**0.5)
    rows = tf.reshape(patches, [-1, grid, grid, size, size, channels])
    side_by_side = tf.transpose(rows, [0, 1, 3, 2, 4, 5])
    return tf.reshape(side_by_side, [-1, grid * size, grid * size, channels])
