"""Views of several sizes: a few large crops, and many small ones that cost little."""

import keras

from cl_keras.views.random_views import RandomViews, check_crop
from cl_keras.views.two_views import simclr


@keras.saving.register_keras_serializable("cl_keras")
class MultiCrop(RandomViews):
    """Random crops of several sizes, each with flip, colour jitter, grey and blur.

    Caron et al. 2020 (SwAV), section 3.4. The views come in the order of `crops`.

    Args:
        crops: list of (side in pixels, number of views, (least, most) share of the image).
        **strengths: arguments of `RandomViews`, the same for all crops.

    Raises:
        ValueError: for no crops, less than two views in all, or a value out of its range.
    """

    def __init__(self, crops, **strengths):
        self._groups = [(size, count, tuple(area)) for size, count, area in crops]
        for size, count, area in self._groups:
            check_crop(size, area)
            if not isinstance(count, int) or count < 1:
                raise ValueError(f"A crop is taken at least once; received count {count!r}.")
        self.num_views = sum(count for _, count, _ in self._groups)
        if self.num_views < 2:
            raise ValueError(
                "crops must be (size, count, (least, most) area) with at least two views in all; "
                f"received {crops!r}."
            )
        self.image_size = self._groups[0][0]
        super().__init__(**strengths)

    @property
    def crops(self):
        return [(size, area) for size, count, area in self._groups for _ in range(count)]

    def get_config(self):
        return {"crops": self._groups} | super().get_config()


def multi_crop(image_size, channels=3, *, small_views=6, **changes):
    """SwAV's views for a size and kind of image: two large ones and several small ones.

    | images | large | small | source |
    |---|---|---|---|
    | colour | 2 × `image_size`, area .14–1 | 6 × 3/7 of it, area .05–.14 | Caron et al. 2020 |
    | grey | 2 × `image_size`, area .3–1 | 6 × 3/7 of it, area .15–.3 | see below |

    For 224 pixels that is 2 × 224 and 6 × 96. Jitter, grey and blur are those of `views.simclr`.

    NOTE: small grey pictures, such as Fashion-MNIST, show nothing in a twentieth of their area;
    the areas are raised as those of `views.simclr` are, and are not taken from a paper.

    Args:
        image_size: side of the large views in pixels.
        channels: 1 or 3.
        small_views: number of small views; 0 leaves two large ones.
        **changes: arguments of `RandomViews` to replace.
    """
    strengths = simclr(image_size, channels, **changes).get_config()
    del strengths["image_size"], strengths["crop_area"]
    large, small = ((0.3, 1.0), (0.15, 0.3)) if channels == 1 else ((0.14, 1.0), (0.05, 0.14))
    crops = [(image_size, 2, large)]
    if small_views:
        crops.append((round(image_size * 3 / 7), small_views, small))
    return MultiCrop(crops, **strengths)


def by_size(views):
    """Neighbouring views of one shape, together: what an encoder can take in one pass.

    Args:
        views: sequence of tensors `[b, H, W, C]`.

    Returns:
        List of lists of views, in their order.
    """
    groups = []
    for view in views:
        if groups and groups[-1][0].shape[1:] == view.shape[1:]:
            groups[-1].append(view)
        else:
            groups.append([view])
    return groups
