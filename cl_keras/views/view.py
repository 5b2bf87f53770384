"""The parameters of one view of an image."""

import dataclasses
from collections.abc import Iterable
from typing import Any

from cl_keras.bounds import check_image_size

_PROBABILITIES = (
    "flip",
    "color_probability",
    "grayscale_probability",
    "blur_probability",
    "solarize_probability",
)


@dataclasses.dataclass(frozen=True)
class View:
    """The strengths and probabilities of one view; `RandomViews` takes one per view.

    The operations are those of SimCLR (Chen et al. 2020, appendix A) and BYOL (Grill et al. 2020,
    appendix B), in this order: crop, flip, brightness, contrast, saturation, hue, grayscale, blur,
    solarization.

    Args:
        image_size: side of the view in pixels.
        crop_area: (least, most) share of the image that the crop covers; default: (0.08, 1).
        crop_ratio: (least, most) width over height of the crop; default: (3/4, 4/3).
        flip: probability of a left-right flip; default: 0.5.
        brightness: factor drawn from 1 ± this, at least 0; default: 0.8.
        contrast: likewise, relative to the mean gray of the view; default: 0.8.
        saturation: likewise; default: 0.8.
        hue: turns of the HSV circle, drawn from ± this, at most 0.5; default: 0.2.
        color_probability: probability that the four above apply; default: 0.8.
        grayscale_probability: probability that an RGB view becomes gray; default: 0.2.
        blur_probability: probability of a Gaussian blur; default: 0.5.
        blur_sigma: (least, most) standard deviation of the blur in pixels; default: (0.1, 2).
        blur_kernel: side of the blur's kernel as a share of `image_size`, 0.1 in SimCLR; default:
            None, wide enough for the whole Gaussian, like Pillow's blur.
        solarize_probability: probability that values of at least 127.5 are inverted; default: 0.

    Raises:
        ValueError: for a value out of range.
    """

    image_size: int
    crop_area: tuple[float, float] = (0.08, 1.0)
    crop_ratio: tuple[float, float] = (3 / 4, 4 / 3)
    flip: float = 0.5
    brightness: float = 0.8
    contrast: float = 0.8
    saturation: float = 0.8
    hue: float = 0.2
    color_probability: float = 0.8
    grayscale_probability: float = 0.2
    blur_probability: float = 0.5
    blur_sigma: tuple[float, float] = (0.1, 2.0)
    blur_kernel: float | None = None
    solarize_probability: float = 0.0

    def __post_init__(self):
        for name in ("crop_area", "crop_ratio", "blur_sigma"):
            object.__setattr__(self, name, _pair(name, getattr(self, name)))
        object.__setattr__(self, "image_size", check_image_size(self.image_size))
        if self.crop_area[1] > 1:
            raise ValueError(f"crop_area must lie in (0, 1]; received {self.crop_area}.")
        for name in _PROBABILITIES:
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must lie in [0, 1]; received {getattr(self, name)!r}.")
        for name in ("brightness", "contrast", "saturation"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} must be at least 0; received {getattr(self, name)!r}.")
        if not 0 <= self.hue <= 0.5:
            raise ValueError(f"hue must lie in [0, 0.5] turns; received {self.hue!r}.")
        if self.blur_kernel is not None and not 0 < self.blur_kernel <= 1:
            raise ValueError(
                f"blur_kernel must be a share in (0, 1] or None; received {self.blur_kernel!r}."
            )


def changed(views: Iterable[View], changes: dict[str, Any]) -> list[View]:
    """Views with some of their arguments overridden.

    Args:
        views: the views.
        changes: arguments of `View`. A single value is for all views; a list has one value per
            view, such as `{"blur_probability": [1.0, 0.1]}`.

    Raises:
        ValueError: for an unknown argument, or a list of another length.
    """
    views = list(views)
    known = [field.name for field in dataclasses.fields(View)]
    if unknown := sorted(set(changes) - set(known)):
        raise ValueError(f"View has no argument {', '.join(unknown)}; it has {', '.join(known)}.")
    columns = {name: _for_each(name, value, len(views)) for name, value in changes.items()}
    return [
        dataclasses.replace(view, **{name: values[i] for name, values in columns.items()})
        for i, view in enumerate(views)
    ]


def _for_each(name, value, count):
    """`count` values, from a single value or a list with one per view."""
    is_pair = name in ("crop_area", "crop_ratio", "blur_sigma")
    is_list = isinstance(value, (list, tuple))
    if not is_list or (is_pair and not isinstance(value[0], (list, tuple))):
        return [value] * count
    if len(value) != count:
        raise ValueError(
            f"{name} must be one value for all views, or a list of {count}, one per view; "
            f"received {value!r}."
        )
    return list(value)


def _pair(name, value):
    try:
        low, high = value
        if 0 < low <= high:
            return float(low), float(high)
    except TypeError:
        pass
    raise ValueError(f"{name} must be (least, most), both above 0; received {value!r}.")
