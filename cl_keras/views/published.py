"""The views that methods were published with, for images of any size and number of channels.

| views | crop area | jitter, probability | grayscale | blur | solarize | source |
|---|---|---|---|---|---|---|
| `simclr` | .08–1 | .8 .8 .8 .2, .8 | .2 | .5 | – | google-research/simclr |
| `simclr`, up to 64 px | .08–1 | .4 .4 .4 .1, .8 | .2 | – | – | the same, CIFAR-10 |
| `moco_v1` | .2–1 | .4 .4 .4 .4, 1 | .2 | – | – | facebookresearch/moco |
| `moco_v2` | .2–1 | .4 .4 .4 .1, .8 | .2 | .5 | – | the same |
| `byol` | .08–1 | .4 .4 .2 .1, .8 | .2 | 1 / .1 | 0 / .2 | google-deepmind/deepmind-research |
| `moco_v3` | .2–1 | .4 .4 .2 .1, .8 | .2 | 1 / .1 | 0 / .2 | facebookresearch/moco-v3, ResNet-50 |
| `inst_disc` | .2–1 | .4 .4 .4 .4, 1 | .2 | – | – | zhirongw/lemniscate.pytorch |
| `swav` | .14–1, .05–.14 | .8 .8 .8 .2, .8 | .2 | .5 | – | facebookresearch/swav |
| `dino` | .4–1, .05–.4 | .4 .4 .2 .1, .8 | .2 | 1 / .1 / .5 | 0 / .2 / 0 | facebookresearch/dino |

"1 / .1" are the first and the second view. A blur has σ from .1 to 2 pixels and, but for SimCLR's,
whose kernel is a tenth of the side, the whole Gaussian.

NOTE: where the papers do not say otherwise,
- up to 64 px there is no blur, as in SimCLR's recipe for CIFAR-10: σ = 2 leaves nothing of 32 px;
- images of one channel have crops of at least .3 (small crops of `swav` and `dino` of .15 to .3),
  brightness and contrast of .4, always. That was measured on Fashion-MNIST, where a twentieth of a
  picture shows nothing;
- images of other than three channels have no saturation, hue and grayscale.
"""

import dataclasses
from typing import Any

from cl_keras.views.random_views import RandomViews
from cl_keras.views.view import View, changed

SMALL = 64
"""Side in pixels up to which images are small."""


def simclr(image_size: int, channels: int = 3, **changes) -> RandomViews:
    """SimCLR's two views (Chen et al. 2020, appendix A and B.9).

    Args:
        image_size: side of the views in pixels.
        channels: number of channels; default: 3.
        **changes: arguments of `View` to replace, as in `views.changed`.
    """
    strength = 1.0 if image_size > SMALL else 0.5
    view = View(
        image_size,
        brightness=0.8 * strength,
        contrast=0.8 * strength,
        saturation=0.8 * strength,
        hue=0.2 * strength,
        blur_kernel=0.1,
    )
    return _made([view] * 2, channels, changes)


def moco_v1(image_size: int, channels: int = 3, **changes) -> RandomViews:
    """MoCo's two views in its first version (He et al. 2020); also PCL's.

    Args:
        image_size: side of the views in pixels.
        channels: number of channels; default: 3.
        **changes: arguments of `View` to replace.
    """
    return _made([_moco_v1(image_size)] * 2, channels, changes)


def moco_v2(image_size: int, channels: int = 3, **changes) -> RandomViews:
    """MoCo's two views in its second version (Chen et al. 2020); also PCL v2's and SimSiam's.

    Args:
        image_size: side of the views in pixels.
        channels: number of channels; default: 3.
        **changes: arguments of `View` to replace.
    """
    view = View(
        image_size, crop_area=(0.2, 1.0), brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1
    )
    return _made([view] * 2, channels, changes)


def byol(image_size: int, channels: int = 3, **changes) -> RandomViews:
    """BYOL's two different views (Grill et al. 2020); also Barlow Twins' and VICReg's.

    Args:
        image_size: side of the views in pixels.
        channels: number of channels; default: 3.
        **changes: arguments of `View` to replace.
    """
    return _made(_asymmetric(image_size), channels, changes)


def moco_v3(image_size: int, channels: int = 3, **changes) -> RandomViews:
    """BYOL's pair with crops from .2, as MoCo v3 trains ResNet-50 (Chen et al. 2021).

    Args:
        image_size: side of the views in pixels.
        channels: number of channels; default: 3.
        **changes: arguments of `View` to replace.
    """
    return _made(_asymmetric(image_size, crop_area=(0.2, 1.0)), channels, changes)


def inst_disc(image_size: int, channels: int = 3, **changes) -> RandomViews:
    """The single view of InstDisc (Wu et al. 2018); up to 64 px without flip, as for CIFAR-10.

    Args:
        image_size: side of the view in pixels.
        channels: number of channels; default: 3.
        **changes: arguments of `View` to replace.
    """
    view = _moco_v1(image_size)
    if image_size <= SMALL:
        view = dataclasses.replace(view, flip=0.0)
    return _made([view], channels, changes)


def swav(image_size: int, channels: int = 3, *, small_views: int = 6, **changes) -> RandomViews:
    """SwAV's multi-crop (Caron et al. 2020); also DeepCluster-v2's.

    Two large views, and small ones of 3/7 of their side: 2 × 224 and 6 × 96.

    Args:
        image_size: side of the large views in pixels.
        channels: number of channels; default: 3.
        small_views: number of small views; default: 6.
        **changes: arguments of `View` to replace.
    """
    large = View(image_size, crop_area=(0.14, 1.0))
    small = View(_small(image_size), crop_area=(0.05, 0.14))
    return _made([large] * 2 + [small] * small_views, channels, changes)


def dino(image_size: int, channels: int = 3, *, small_views: int = 8, **changes) -> RandomViews:
    """DINO's multi-crop (Caron et al. 2021): BYOL's pair, and small views.

    Args:
        image_size: side of the large views in pixels.
        channels: number of channels; default: 3.
        small_views: number of small views; default: 8.
        **changes: arguments of `View` to replace.
    """
    large = _asymmetric(image_size, crop_area=(0.4, 1.0))
    small = dataclasses.replace(
        large[0], image_size=_small(image_size), crop_area=(0.05, 0.4), blur_probability=0.5
    )
    return _made(large + [small] * small_views, channels, changes)


def _moco_v1(image_size):
    return View(
        image_size,
        crop_area=(0.2, 1.0),
        brightness=0.4,
        contrast=0.4,
        saturation=0.4,
        hue=0.4,
        color_probability=1.0,
        blur_probability=0.0,
    )


def _asymmetric(image_size, crop_area=(0.08, 1.0)):
    first = View(
        image_size,
        crop_area=crop_area,
        brightness=0.4,
        contrast=0.4,
        saturation=0.2,
        hue=0.1,
        blur_probability=1.0,
    )
    return [first, dataclasses.replace(first, blur_probability=0.1, solarize_probability=0.2)]


def _small(image_size):
    return round(image_size * 3 / 7)


def _made(views, channels, changes):
    largest = max(view.image_size for view in views)
    return RandomViews(fitted(views, channels, largest, changes))


def fitted(views: list[View], channels: int, image_size: int, changes: dict) -> list[View]:
    """Published views for images of another kind, as the NOTE of this module says, with changes.

    Args:
        views: as published for large RGB images.
        channels: of the images.
        image_size: side of the largest view in pixels.
        changes: arguments of `View` to replace, as in `changed`.
    """
    if image_size <= SMALL:
        views = [dataclasses.replace(view, blur_probability=0.0) for view in views]
    if channels == 1:
        views = [_of_gray_images(view, view.image_size < image_size) for view in views]
    views = changed(views, changes)
    if channels != 3:
        dropped: dict[str, Any] = {"saturation": 0.0, "hue": 0.0, "grayscale_probability": 0.0}
        views = [dataclasses.replace(view, **dropped) for view in views]
    return views


def _of_gray_images(view, is_small):
    area = (0.15, 0.3) if is_small else (max(0.3, view.crop_area[0]), 1.0)
    return dataclasses.replace(
        view, crop_area=area, brightness=0.4, contrast=0.4, color_probability=1.0
    )
