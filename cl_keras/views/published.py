"""The views that methods were published with, adapted to the size and channels of the images.

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

"1 / .1" stand for the first and the second view. A blur has σ from .1 to 2 pixels and covers the
whole Gaussian, except SimCLR's, whose kernel is a tenth of the side.

NOTE: adaptations that are not from the papers:
- up to 64 px there is no blur, as in SimCLR's recipe for CIFAR-10: σ = 2 leaves nothing of 32 px;
- images of one channel have crops of at least .3 (small crops of `swav` and `dino` .15 to .3), and
  always brightness and contrast of .4. This was measured on Fashion-MNIST, where a twentieth of a
  picture shows nothing;
- images that do not have three channels have no saturation, hue and grayscale.
"""

import dataclasses
from typing import Any

from cl_keras.views.random_views import RandomViews
from cl_keras.views.view import View, changed

SMALL = 64
"""Largest side in pixels of small images."""


def simclr(image_size: int, channels: int = 3, **changes) -> RandomViews:
    """SimCLR's two views (Chen et al. 2020, appendix A and B.9).

    Args:
        image_size: side of the views in pixels.
        channels: number of channels; default: 3.
        **changes: arguments of `View` to override, as in `views.changed`.
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
    """The two views of MoCo v1 (He et al. 2020) and PCL.

    Args:
        image_size: side of the views in pixels.
        channels: number of channels; default: 3.
        **changes: arguments of `View` to override.
    """
    return _made([_moco_v1(image_size)] * 2, channels, changes)


def moco_v2(image_size: int, channels: int = 3, **changes) -> RandomViews:
    """The two views of MoCo v2 (Chen et al. 2020), PCL v2 and SimSiam.

    Args:
        image_size: side of the views in pixels.
        channels: number of channels; default: 3.
        **changes: arguments of `View` to override.
    """
    view = View(
        image_size, crop_area=(0.2, 1.0), brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1
    )
    return _made([view] * 2, channels, changes)


def byol(image_size: int, channels: int = 3, **changes) -> RandomViews:
    """The two different views of BYOL (Grill et al. 2020), Barlow Twins and VICReg.

    Args:
        image_size: side of the views in pixels.
        channels: number of channels; default: 3.
        **changes: arguments of `View` to override.
    """
    return _made(_asymmetric(image_size), channels, changes)


def moco_v3(image_size: int, channels: int = 3, **changes) -> RandomViews:
    """BYOL's views with crops from .2, as in MoCo v3 for ResNet-50 (Chen et al. 2021).

    Args:
        image_size: side of the views in pixels.
        channels: number of channels; default: 3.
        **changes: arguments of `View` to override.
    """
    return _made(_asymmetric(image_size, crop_area=(0.2, 1.0)), channels, changes)


def inst_disc(image_size: int, channels: int = 3, **changes) -> RandomViews:
    """The single view of InstDisc (Wu et al. 2018); up to 64 px without flip, as for CIFAR-10.

    Args:
        image_size: side of the view in pixels.
        channels: number of channels; default: 3.
        **changes: arguments of `View` to override.
    """
    view = _moco_v1(image_size)
    if image_size <= SMALL:
        view = dataclasses.replace(view, flip=0.0)
    return _made([view], channels, changes)


def swav(image_size: int, channels: int = 3, *, small_views: int = 6, **changes) -> RandomViews:
    """The multi-crop of SwAV (Caron et al. 2020) and DeepCluster-v2.

    Two large views, and small ones with 3/7 of their side: 2 × 224 and 6 × 96.

    Args:
        image_size: side of the large views in pixels.
        channels: number of channels; default: 3.
        small_views: number of small views; default: 6.
        **changes: arguments of `View` to override.
    """
    large = View(image_size, crop_area=(0.14, 1.0))
    small = View(_small(image_size), crop_area=(0.05, 0.14))
    return _made([large] * 2 + [small] * small_views, channels, changes)


def dino(image_size: int, channels: int = 3, *, small_views: int = 8, **changes) -> RandomViews:
    """DINO's multi-crop (Caron et al. 2021): BYOL's two views, and small ones.

    Args:
        image_size: side of the large views in pixels.
        channels: number of channels; default: 3.
        small_views: number of small views; default: 8.
        **changes: arguments of `View` to override.
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
    """Adapts published views to other images, as this module's NOTE says, and applies changes.

    Args:
        views: views as published, for large RGB images.
        channels: number of channels of the images.
        image_size: side of the largest view in pixels.
        changes: arguments of `View` to override, as in `changed`.
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
