"""The default views of each method are those of the authors' code."""

import dataclasses

import pytest

from cl_keras import methods, views

# Crop area; brightness, contrast, saturation, hue; probabilities of these, of grayscale, of blur,
# and of solarization: of each view in turn.
MILD, HALF = (0.4, 0.4, 0.4, 0.1), (0.4, 0.4, 0.2, 0.1)
FULL, ALWAYS = (0.8, 0.8, 0.8, 0.2), (0.4, 0.4, 0.4, 0.4)
TABLE = {
    "SimCLR": 2 * [((0.08, 1.0), FULL, 0.8, 0.2, 0.5, 0.0)],
    "MoCo": 2 * [((0.2, 1.0), MILD, 0.8, 0.2, 0.5, 0.0)],
    "PCL": 2 * [((0.2, 1.0), MILD, 0.8, 0.2, 0.5, 0.0)],
    "MoCoV3": [
        ((0.2, 1.0), HALF, 0.8, 0.2, 1.0, 0.0),
        ((0.2, 1.0), HALF, 0.8, 0.2, 0.1, 0.2),
    ],
    "InstDisc": [((0.2, 1.0), ALWAYS, 1.0, 0.2, 0.0, 0.0)],
    "SwAV": 2 * [((0.14, 1.0), FULL, 0.8, 0.2, 0.5, 0.0)]
    + 6 * [((0.05, 0.14), FULL, 0.8, 0.2, 0.5, 0.0)],
    "DeepCluster": 2 * [((0.14, 1.0), FULL, 0.8, 0.2, 0.5, 0.0)]
    + 6 * [((0.05, 0.14), FULL, 0.8, 0.2, 0.5, 0.0)],
}
PRESETS = {
    "moco_v1": 2 * [((0.2, 1.0), ALWAYS, 1.0, 0.2, 0.0, 0.0)],
    "byol": [
        ((0.08, 1.0), HALF, 0.8, 0.2, 1.0, 0.0),
        ((0.08, 1.0), HALF, 0.8, 0.2, 0.1, 0.2),
    ],
    "dino": [
        ((0.4, 1.0), HALF, 0.8, 0.2, 1.0, 0.0),
        ((0.4, 1.0), HALF, 0.8, 0.2, 0.1, 0.2),
        *8 * [((0.05, 0.4), HALF, 0.8, 0.2, 0.5, 0.0)],
    ],
}


def row(view):
    return (
        view.crop_area,
        (view.brightness, view.contrast, view.saturation, view.hue),
        view.color_probability,
        view.grayscale_probability,
        view.blur_probability,
        view.solarize_probability,
    )


@pytest.mark.parametrize("method", TABLE)
def test_default_views_are_the_authors(method):
    made = getattr(methods, method).default_views(224)
    assert [row(view) for view in made.views] == TABLE[method]
    for view in made.views:
        assert (view.flip, view.crop_ratio, view.blur_sigma) == (0.5, (3 / 4, 4 / 3), (0.1, 2.0))
        assert view.blur_kernel == (0.1 if method == "SimCLR" else None)
    sizes = [view.image_size for view in made.views]
    assert sizes == [224] * len(sizes[:2]) + [96] * len(sizes[2:])


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_are_the_authors(preset):
    made = getattr(views, preset)(224)
    assert [row(view) for view in made.views] == PRESETS[preset]


def test_pirl_has_an_image_and_its_jigsaw():
    made = methods.PIRL.default_views(224)
    jitter = (0.4, 0.4, 0.4, 0.2)
    assert [row(view) for view in made.image_view.views] == [
        ((0.08, 1.0), jitter, 1.0, 0.2, 0.0, 0.0)
    ]
    assert row(made.jigsaw.look)[1:] == (jitter, 1.0, 0.2, 0.0, 0.0)
    assert (made.jigsaw.crop.crop_area, made.jigsaw.crop.image_size) == ((0.6, 1.0), 255)
    assert (made.jigsaw.cell_size, made.jigsaw.look.image_size) == (85, 64)


def test_small_images_have_simclrs_recipe_for_cifar():
    (view, same) = methods.SimCLR.default_views(32).views
    assert view == same
    assert row(view) == ((0.08, 1.0), (0.4, 0.4, 0.4, 0.1), 0.8, 0.2, 0.0, 0.0)
    assert methods.InstDisc.default_views(32).views[0].flip == 0.0  # as the authors on CIFAR-10
    assert {view.blur_probability for view in methods.SwAV.default_views(32).views} == {0.0}


@pytest.mark.parametrize("method", [*TABLE, "PIRL"])
@pytest.mark.parametrize("channels", [1, 4])
def test_other_channels_have_no_colors(method, channels):
    made = getattr(methods, method).default_views(28, channels)
    found = made.views if method != "PIRL" else [*made.image_view.views, made.jigsaw.look]
    for view in found:
        assert (view.saturation, view.hue, view.grayscale_probability) == (0.0, 0.0, 0.0)
        if channels == 1:
            assert (view.brightness, view.contrast, view.color_probability) == (0.4, 0.4, 1.0)
            assert view.crop_area[0] >= 0.15


def test_changes_reach_the_views():
    pair = methods.MoCoV3.default_views(96, blur_probability=[1.0, 0.0], hue=0.3)
    assert [(v.blur_probability, v.hue) for v in pair.views] == [(1.0, 0.3), (0.0, 0.3)]
    crops = methods.SwAV.default_views(96, small_views=0, crop_area=(0.3, 1.0))
    assert crops.views == 2 * (dataclasses.replace(crops.views[0], crop_area=(0.3, 1.0)),)
    made = methods.PIRL.default_views(96, hue=0.1, crop_area=(0.5, 1.0))
    assert (made.image_view.views[0].hue, made.jigsaw.look.hue) == (0.1, 0.1)
    assert made.image_view.views[0].crop_area == (0.5, 1.0)
    assert made.jigsaw.crop.crop_area == (0.6, 1.0)
