"""Two random views of each image: the augmentation of SimCLR and all that followed it."""

import keras

from cl_keras.views.random_views import RandomViews, check_crop


@keras.saving.register_keras_serializable("cl_keras")
class TwoViews(RandomViews):
    """Random crop, flip, colour jitter, grey and blur, twice for each image.

    Args:
        image_size: side of the views in pixels. Images of any size are taken; they should not be
            much larger than the views, since small crops are cut from what is there.
        crop_area: (least, most) share of the image that a crop covers.
        **strengths: arguments of `RandomViews`.

    Raises:
        ValueError: for a value out of its range.
    """

    num_views = 2

    def __init__(self, image_size, *, crop_area=(0.08, 1.0), **strengths):
        self.image_size, self.crop_area = image_size, tuple(crop_area)
        check_crop(self.image_size, self.crop_area)
        super().__init__(**strengths)

    @property
    def crops(self):
        return [(self.image_size, self.crop_area)] * self.num_views

    def get_config(self):
        own = {"image_size": self.image_size, "crop_area": self.crop_area}
        return own | super().get_config()


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
