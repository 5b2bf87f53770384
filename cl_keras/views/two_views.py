"""Two random views of each image: the augmentation of SimCLR and all that followed it."""

import keras
import tensorflow as tf

from cl_keras.views import kernels
from cl_keras.views.draws import TRIES, Columns, crop_boxes, uniform

COLUMNS_PER_VIEW = 2 * TRIES + 2 + 9


@keras.saving.register_keras_serializable("cl_keras")
class TwoViews:
    """Random crop, flip, colour jitter, grey and blur, twice for each image.

    A pure function of the images, the seed, the step and the row of the global batch: no state,
    the same on one replica and on many. It runs on the device, a batch at a time, as one compiled
    function. Chen et al. 2020, appendix A.

    On images of one channel, saturation, hue and grey make no sense and are left out; brightness
    and contrast remain.

    Args:
        image_size: side of the views in pixels. Images of any size are taken; they should not be
            much larger than the views, since small crops are cut from what is there.
        crop_area: (least, most) share of the image that a crop covers.
        crop_ratio: (least, most) width over height of a crop.
        flip: probability of a left-right flip.
        brightness: factor drawn from 1 ± this, at least 0.
        contrast: likewise, about the image's mean grey.
        saturation: likewise.
        hue: turns of the colour circle, drawn from ± this; at most 0.5.
        color_probability: probability that the four above apply.
        grey_probability: probability that a colour image ends grey.
        blur_probability: probability of a Gaussian blur with a kernel of a tenth of the side.
        blur_sigma: (least, most) standard deviation of the blur in pixels.

    Raises:
        ValueError: for a value out of its range.
    """

    num_views = 2

    def __init__(
        self,
        image_size,
        *,
        crop_area=(0.08, 1.0),
        crop_ratio=(3 / 4, 4 / 3),
        flip=0.5,
        brightness=0.8,
        contrast=0.8,
        saturation=0.8,
        hue=0.2,
        color_probability=0.8,
        grey_probability=0.2,
        blur_probability=0.5,
        blur_sigma=(0.1, 2.0),
    ):
        self.image_size = image_size
        self.crop_area, self.crop_ratio = tuple(crop_area), tuple(crop_ratio)
        self.flip = flip
        self.brightness, self.contrast, self.saturation = brightness, contrast, saturation
        self.hue = hue
        self.color_probability = color_probability
        self.grey_probability = grey_probability
        self.blur_probability, self.blur_sigma = blur_probability, tuple(blur_sigma)
        self._check()

    def __call__(self, images, *, seed, step, first_row=0):
        """Two views of each image.

        Args:
            images: `[B, H, W, C]`, uint8 or float in 0..255, `C` 1 or 3.
            seed: int or int tensor.
            step: int or int tensor; another step gives other views.
            first_row: row of the global batch that `images` begin with.

        Returns:
            Two float32 tensors `[B, image_size, image_size, C]` in 0..255.
        """
        images = tf.convert_to_tensor(images)
        self._check_images(images)
        rows = tf.shape(images)[0]
        # Drawn outside of the compiled function, whose shape would otherwise hang on the replica.
        block = uniform(seed, step, first_row, rows, self.num_views * COLUMNS_PER_VIEW)
        return self._views(images, block)

    @tf.function(jit_compile=True, reduce_retracing=False, autograph=False)
    def _views(self, images, block):
        images = tf.cast(images, tf.float32)
        return tuple(self._view(images, part) for part in tf.split(block, self.num_views, axis=1))

    def _view(self, images, block):
        height, width, channels = images.shape[1:]
        columns = Columns(block)
        y, x, box_height, box_width = crop_boxes(
            columns, height, width, self.crop_area, self.crop_ratio
        )
        flipped = columns.take() < self.flip
        across = kernels.resize_matrix(y, box_height, self.image_size, height)
        along = kernels.resize_matrix(x, box_width, self.image_size, width)
        along = tf.where(flipped[:, None, None], along[:, ::-1], along)
        matrix, tint = self._colour(columns, channels)
        if self.blur_probability > 0:
            blurred = columns.take() < self.blur_probability
            sigma = tf.where(blurred, columns.take(*self.blur_sigma), 0.0)
            blur = kernels.blur_matrix(sigma, self.image_size)
            across, along = blur @ across, blur @ along
        view = kernels.apply_rows_and_columns(images, across, along)
        return kernels.apply_colour(view, matrix, tint * self._mean_grey(view))

    def _colour(self, columns, channels):
        """Matrix `[B, C, C]` and offset `[B, C]` per unit of mean grey; seven columns."""
        applies = columns.take() < self.color_probability

        def factor(strength):
            drawn = columns.take(max(0.0, 1.0 - strength), 1.0 + strength)
            return tf.where(applies, drawn, 1.0)

        brightness, contrast, saturation = map(
            factor, (self.brightness, self.contrast, self.saturation)
        )
        hue = tf.where(applies, columns.take(-self.hue, self.hue), 0.0)
        grey = columns.take() < self.grey_probability
        if channels == 1:
            offset = (1.0 - contrast) * brightness
            return (brightness * contrast)[:, None, None], offset[:, None]
        return kernels.colour_matrix(brightness, contrast, saturation, hue, grey)

    def _mean_grey(self, images):
        weights = kernels.GREY if images.shape[-1] == 3 else [1.0]
        return tf.reduce_sum(tf.reduce_mean(images, axis=[1, 2]) * weights, axis=1, keepdims=True)

    def _check(self):
        if not isinstance(self.image_size, int) or self.image_size < 1:
            raise ValueError(
                f"image_size must be a number of pixels; received {self.image_size!r}."
            )
        if not 0 < self.crop_area[0] <= self.crop_area[1] <= 1:
            raise ValueError(
                f"crop_area must be (least, most) shares in (0, 1]; received {self.crop_area}."
            )
        if not 0 < self.crop_ratio[0] <= self.crop_ratio[1]:
            raise ValueError(
                f"crop_ratio must be (least, most) above 0; received {self.crop_ratio}."
            )
        for name in ("flip", "color_probability", "grey_probability", "blur_probability"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must lie in [0, 1]; received {getattr(self, name)!r}.")
        for name in ("brightness", "contrast", "saturation"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must be at least 0; received {getattr(self, name)!r}.")
        if not 0 <= self.hue <= 0.5:
            raise ValueError(f"hue must lie in [0, 0.5] turns; received {self.hue!r}.")
        if not 0 < self.blur_sigma[0] <= self.blur_sigma[1]:
            raise ValueError(
                f"blur_sigma must be (least, most) above 0; received {self.blur_sigma}."
            )

    @staticmethod
    def _check_images(images):
        if images.shape.rank != 4 or images.shape[-1] not in (1, 3) or None in images.shape[1:]:
            raise ValueError(
                "images must be a batch [B, H, W, C] of one known size, with 1 channel or 3; "
                f"received shape {tuple(images.shape)}."
            )

    def get_config(self):
        return {
            "image_size": self.image_size,
            "crop_area": self.crop_area,
            "crop_ratio": self.crop_ratio,
            "flip": self.flip,
            "brightness": self.brightness,
            "contrast": self.contrast,
            "saturation": self.saturation,
            "hue": self.hue,
            "color_probability": self.color_probability,
            "grey_probability": self.grey_probability,
            "blur_probability": self.blur_probability,
            "blur_sigma": self.blur_sigma,
        }

    @classmethod
    def from_config(cls, config):
        return cls(**config)


def simclr(image_size, channels=3, **changes):
    """SimCLR's views for a size and kind of image.

    | images | crop area | jitter | grey | blur | source |
    |---|---|---|---|---|---|
    | colour, above 64 px | .08–1 | .8 .8 .8 .2 | .2 | .5 | Chen et al. 2020, ImageNet |
    | colour, to 64 px | .08–1 | .4 .4 .4 .1 | .2 | none | the same, CIFAR-10 (appendix B.9) |
    | grey | .3–1 | .4 .4 | – | as above | measured on Fashion-MNIST |

    Args:
        image_size: side of the views in pixels.
        channels: 1 or 3.
        **changes: arguments of `TwoViews` to replace.
    """
    large = image_size > 64
    strength = 1.0 if large else 0.5
    preset = {
        "brightness": 0.8 * strength,
        "contrast": 0.8 * strength,
        "saturation": 0.8 * strength,
        "hue": 0.2 * strength,
        "blur_probability": 0.5 if large else 0.0,
    }
    if channels == 1:
        preset |= {
            "crop_area": (0.3, 1.0),
            "brightness": 0.4,
            "contrast": 0.4,
            "color_probability": 1.0,
        }
    return TwoViews(image_size, **(preset | changes))
