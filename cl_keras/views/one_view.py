"""One random view of each image: for methods that compare it with a memory bank."""

import keras

from cl_keras.views.two_views import TwoViews


@keras.saving.register_keras_serializable("cl_keras")
class OneView(TwoViews):
    """As `TwoViews`, but a single view of each image: a tuple of one tensor."""

    num_views = 1


def inst_disc(image_size, channels=3, **changes):
    """The views of InstDisc (zhirongw/lemniscate.pytorch `main.py`, `cifar.py`), of any size.

    | images | crop area | jitter | grey | blur |
    |---|---|---|---|---|
    | colour | .2–1 | .4 .4 .4 .4 | .2 | none |
    | grey | .3–1, as `simclr` | .4 .4 | – | none |

    Args:
        image_size: side of the views in pixels.
        channels: 1 or 3.
        **changes: arguments of `OneView` to replace.
    """
    preset = {
        "crop_area": (0.2, 1.0) if channels == 3 else (0.3, 1.0),
        "brightness": 0.4,
        "contrast": 0.4,
        "saturation": 0.4,
        "hue": 0.4,
        "color_probability": 1.0,
        "blur_probability": 0.0,
    }
    return OneView(image_size, **(preset | changes))
