"""Curves and maps show the given values."""

import io
import warnings

import numpy as np
import pytest
from sklearn.decomposition import PCA

from cl_keras.report import curve_figures, map_figure
from cl_keras.report.plots import class_looks, inline_svg, principal_plane, series


def test_series_sorts_skips_gaps_and_reads_text():
    found = series(
        {
            "zeta": [5],
            "knn": [np.nan, 0.5, None],
            "epoch": [4, 5, 6],
            "empty": ["", None, np.nan],
            "val_loss": ["3", "", "1"],
            "loss": [2.0, 1.5, 1.0],
        }
    )
    assert list(found) == ["loss", "val_loss", "knn", "zeta"]
    expected = {"loss": ([4, 5, 6], [2, 1.5, 1]), "val_loss": ([4, 6], [3, 1])}
    expected |= {"knn": ([5], [0.5]), "zeta": ([4], [5])}
    for key, (x, y) in expected.items():
        np.testing.assert_array_equal(found[key][0], x)
        np.testing.assert_array_equal(found[key][1], y)


def test_series_without_epochs_counts_from_one():
    x, _ = series({"loss": [3, 2, 1]})["loss"]
    np.testing.assert_array_equal(x, [1, 2, 3])


def test_series_names_values_that_are_not_numbers():
    with pytest.raises(ValueError, match=r"history\['loss'\] must hold numbers; received .*'abc'"):
        series({"loss": [1, "abc"]})


def test_curves_draw_the_numbers_and_pair_validation_with_training():
    figures = curve_figures({"val_loss": [5, 4], "loss": [3, 2], "learning_rate": [0.1, 0.2]})
    assert list(figures) == ["loss", "learning_rate"]
    lines = figures["loss"].axes[0].lines
    np.testing.assert_array_equal([line.get_ydata() for line in lines], [[3, 2], [5, 4]])
    np.testing.assert_array_equal([line.get_xdata() for line in lines], [[1, 2], [1, 2]])
    texts = figures["loss"].axes[0].get_legend().get_texts()
    assert [t.get_text() for t in texts] == ["loss", "val_loss"]


def test_principal_plane_equals_scikit_learn():
    vectors = np.random.default_rng(0).normal(size=(60, 7)) * np.arange(1, 8)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    model = PCA(2, svd_solver="full").fit(unit)
    places, shares = principal_plane(vectors)
    np.testing.assert_allclose(np.abs(places), np.abs(model.transform(unit)), atol=1e-9)
    np.testing.assert_allclose(shares, model.explained_variance_ratio_, atol=1e-9)


def test_principal_plane_of_one_dimension_or_one_point():
    places, shares = principal_plane([[1.0], [-2.0], [0.0]])
    np.testing.assert_allclose(np.abs(places), [[1, 0], [1, 0], [0, 0]])
    np.testing.assert_allclose(shares, [1, 0])
    np.testing.assert_allclose(principal_plane(np.ones((4, 3)))[1], 0)


@pytest.mark.parametrize("vectors", [np.ones((1, 3)), np.ones(5), [[1.0, np.nan], [0.0, 1.0]]])
def test_principal_plane_needs_finite_rows(vectors):
    with pytest.raises(ValueError, match="at least two rows of finite numbers"):
        principal_plane(vectors)


def test_every_point_is_drawn_once_in_the_look_of_its_class():
    vectors = np.random.default_rng(0).normal(size=(50, 4))
    labels = np.arange(50) % 3
    places, _ = principal_plane(vectors)
    looks = {color: classes for _, classes, color, _ in class_looks(labels)}
    drawn = []
    for points in map_figure(vectors, labels).axes[0].collections:
        red, green, blue, _ = (round(255 * c) for c in points.get_facecolor()[0])
        (label,) = looks[f"#{red:02x}{green:02x}{blue:02x}"]
        drawn += [(label, *place) for place in points.get_offsets()]
    expected = [(label, *place) for label, place in zip(labels, places, strict=True)]
    np.testing.assert_allclose(sorted(drawn), sorted(expected))


def test_looks_of_many_classes_differ_and_rare_ones_share_one():
    labels = np.repeat(np.arange(26), np.r_[np.full(20, 3), np.full(6, 2)])
    looks = class_looks(labels, [f"c{i}" for i in range(26)])
    assert (looks[0][0], list(looks[0][1])) == ("6 others", list(range(20, 26)))
    assert [name for name, *_ in looks[1:]] == [f"c{i}" for i in range(20)]
    assert len({(color, marker) for _, _, color, marker in looks[1:]}) == 20


def test_names_are_shown_as_text_not_as_formulas():
    names = ["$\\frac{", "_hidden", "<script>"]
    figure = map_figure(np.eye(3), [0, 1, 2], names)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure.savefig(io.BytesIO(), format="png")
    assert [t.get_text() for t in figure.axes[0].get_legend().get_texts()] == names


def test_labels_of_another_length_are_explained():
    with pytest.raises(ValueError, match=r"Expected 3 labels, one per row; received \(2,\)"):
        map_figure(np.eye(3), [0, 1])


def test_svg_is_the_same_each_time_and_takes_the_ink_of_the_page():
    def svg():
        return inline_svg(curve_figures({"loss": [3, 2]})["loss"], "c0", 'a "description"')

    assert svg() == svg()
    assert svg().startswith('<svg viewBox="')
    assert 'aria-label="a &quot;description&quot;"' in svg()
    assert "currentColor" in svg()
    assert "http" not in svg()
