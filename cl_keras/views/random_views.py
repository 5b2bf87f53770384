"""What the classes of random views share: from an image and its draws to a view."""

import tensorflow as tf

from cl_keras.views import kernels
from cl_keras.views.draws import TRIES, Columns, crop_boxes, uniform

COLUMNS_PER_VIEW = 2 * TRIES + 2 + 9


class RandomViews:
    """Random crop, flip, colour jitter, grey and blur, several times for each image.

    A pure function of the images, the seed, the step and the row of the global batch: no state,
    the same on one replica and on many. It runs on the device, a batch at a time, as one compiled
    function. Chen et al. 2020, appendix A.

    On images of one channel, saturation, hue and grey make no sense and are left out; brightness
    and contrast remain.

    A subclass says in `crops` which views there are, and sets `image_size`, the side of the first.

    Args:
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

    def __init__(
        self,
        *,
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
        self.crop_ratio = tuple(crop_ratio)
        self.flip = flip
        self.brightness, self.contrast, self.saturation = brightness, contrast, saturation
        self.hue = hue
        self.color_probability = color_probability
        self.grey_probability = grey_probability
        self.blur_probability, self.blur_sigma = blur_probability, tuple(blur_sigma)
        self._check_strengths()

    @property
    def crops(self):
        """Side in pixels and (least, most) share of the image, of each view in turn."""
        raise NotImplementedError(f"{type(self).__name__} does not say which crops it takes.")

    def __call__(self, images, *, seed, step, first_row=0):
        """Views of each image.

        Args:
            images: `[B, H, W, C]`, uint8 or float in 0..255, `C` 1 or 3.
            seed: int or int tensor.
            step: int or int tensor; another step gives other views.
            first_row: row of the global batch that `images` begin with.

        Returns:
            A float32 tensor `[B, size, size, C]` in 0..255 for each of `crops`.
        """
        images = tf.convert_to_tensor(images)
        self._check_images(images)
        rows = tf.shape(images)[0]
        # Drawn outside of the compiled function, whose shape would otherwise hang on the replica.
        block = uniform(seed, step, first_row, rows, self.num_views * COLUMNS_PER_VIEW)
        parts = tf.split(block, self.num_views, axis=1)
        crops = zip(parts, self.crops, strict=True)
        return tuple(self._view(images, part, size, area) for part, (size, area) in crops)

    # One function a view: all views of a size share its compilation.
    @tf.function(jit_compile=True, reduce_retracing=False, autograph=False)
    def _view(self, images, block, size, area):
        images = tf.cast(images, tf.float32)
        height, width, channels = images.shape[1:]
        columns = Columns(block)
        y, x, box_height, box_width = crop_boxes(columns, height, width, area, self.crop_ratio)
        flipped = columns.take() < self.flip
        across = kernels.resize_matrix(y, box_height, size, height)
        along = kernels.resize_matrix(x, box_width, size, width)
        along = tf.where(flipped[:, None, None], along[:, ::-1], along)
        matrix, tint = self._colour(columns, channels)
        if self.blur_probability > 0:
            blurred = columns.take() < self.blur_probability
            sigma = tf.where(blurred, columns.take(*self.blur_sigma), 0.0)
            blur = kernels.blur_matrix(sigma, size)
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

    def _check_strengths(self):
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


def check_crop(size, area):
    """Refuses a side that is no number of pixels, and an area that is no pair of shares."""
    if not isinstance(size, int) or size < 1:
        raise ValueError(f"image_size must be a number of pixels; received {size!r}.")
    if not 0 < area[0] <= area[1] <= 1:
        raise ValueError(f"crop_area must be (least, most) shares in (0, 1]; received {area}.")
