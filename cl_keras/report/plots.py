"""Curves of a run and the map of its embeddings, as matplotlib figures and inline SVG."""

import html
import io
import re
from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullLocator

# Petroff (2021), ten colors that remain distinct with the common kinds of color blindness.
COLORS = (
    "#3f90da",
    "#ffa90e",
    "#bd1f01",
    "#94a4a2",
    "#832db6",
    "#a96b59",
    "#e76300",
    "#b9ac70",
    "#717581",
    "#92dadd",
)
_MARKERS = "o^sDvPX<>"  # nine markers for ten colors: classes of one color differ in shape
_MAX_CLASSES = 20  # in the legend; the other classes share one gray
_INK = "#5b6470"  # legible on white and on black; pages replace it by their own color


def series(history: dict) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """The curves of a history.

    Args:
        history: {key: list of numbers}; "epoch" is the horizontal axis (default: 1, 2, …). Numbers
            may be strings, as from a CSV file; empty ones are gaps.

    Returns:
        {key: (x, y)}, float arrays of equal length, without gaps. Keys without numbers are left
        out; `val_x` follows `x`.

    Raises:
        ValueError: an entry that is not a number.
    """
    columns = {key: _numbers(key, values) for key, values in history.items()}
    epochs = columns.pop("epoch", None)
    found = {}
    for key in sorted(columns, key=_rank):
        y = columns[key]
        x = np.arange(1.0, len(y) + 1) if epochs is None else epochs[: len(y)]
        y = y[: len(x)]
        there = np.isfinite(x) & np.isfinite(y)
        if there.any():
            found[key] = (x[there], y[there])
    return found


def _numbers(key, values):
    try:
        return np.array([np.nan if v in ("", None) else float(v) for v in values])
    except (TypeError, ValueError) as error:
        raise ValueError(f"history[{key!r}] must hold numbers; received {values!r}.") from error


def _rank(key):
    """Sorts the usual metrics first, the others by name."""
    usual = ["loss", "contrastive_accuracy", "knn", "learning_rate"]
    base = key.removeprefix("val_")
    return (usual.index(base) if base in usual else len(usual), base, key)


def curve_figures(history: dict, baselines: dict | None = None) -> dict[str, Figure]:
    """A figure of each metric of a history; `val_x` is a dashed line in the figure of `x`.

    Args:
        history: see `series`.
        baselines: {key: {name: value}}, drawn as horizontal lines; default: None.

    Returns:
        {key: `matplotlib.figure.Figure`}, the usual metrics first.

    Raises:
        ValueError: an entry that is not a number.
    """
    curves, figures = series(history), {}
    for key in dict.fromkeys(key.removeprefix("val_") for key in curves):
        figure, axes = _figure(4.2, 2.6)
        lines = {}
        for name, dashes, color in ((key, "-", COLORS[0]), (f"val_{key}", "--", COLORS[6])):
            if name in curves:
                x, y = curves[name]
                marker = "o" if len(x) < 30 else None
                (lines[name],) = axes.plot(x, y, dashes, color=color, marker=marker, ms=3)
        for i, (name, value) in enumerate(((baselines or {}).get(key) or {}).items()):
            color = COLORS[(i + 1) % len(COLORS)]
            lines[name] = axes.axhline(value, color=color, linewidth=1, linestyle=":")
        if len(lines) > 1:
            _legend(axes, lines)
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        figures[key] = figure
    return figures


def label_figure(curves: dict) -> Figure:
    """Accuracy by number of labels, a line with 95 % intervals for each encoder.

    Args:
        curves: {encoder: {"labels": [n], "value": [n], "low": [n], "high": [n]}}, shares.

    Returns:
        `matplotlib.figure.Figure`.
    """
    figure, axes = _figure(6.4, 3.6)
    lines = {}
    for i, (name, curve) in enumerate(curves.items()):
        x = np.array(curve["labels"], float) * 1.02 ** (i - len(curves) / 2)  # bars side by side
        y, low, high = (100 * np.array(curve[key]) for key in ("value", "low", "high"))
        last = i == len(curves) - 1
        lines[name] = axes.errorbar(
            x,
            y,
            yerr=[np.maximum(y - low, 0), np.maximum(high - y, 0)],
            color=COLORS[(0 if last else i + 1) % len(COLORS)],
            linewidth=2.2 if last else 1.2,
            elinewidth=1,
            marker=_MARKERS[i % len(_MARKERS)],
            markersize=4,
        )
    axes.set_xscale("log")
    ticks = sorted({n for curve in curves.values() for n in curve["labels"]})
    axes.set_xticks(ticks, [f"{n:,}" for n in ticks], rotation=45)
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("labels")
    axes.set_ylabel("accuracy in percent")
    _legend(axes, lines, loc="lower right")
    return figure


def principal_plane(vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Projects vectors onto the plane of their two largest principal components.

    Args:
        vectors: float `[n, d]`, n ≥ 2; they are L2-normalized, then centered.

    Returns:
        (points, shares): float `[n, 2]`, and the share of the variance along each axis `[2]`.

    Raises:
        ValueError: not a matrix of at least two finite rows.
    """
    vectors = np.asarray(vectors, np.float64)
    if vectors.ndim != 2 or len(vectors) < 2 or not np.isfinite(vectors).all():
        raise ValueError(
            "Expected at least two rows of finite numbers [n, d]; received shape "
            f"{vectors.shape}{'' if np.isfinite(vectors).all() else ' with NaN or infinity'}."
        )
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit = vectors / np.where(norms == 0, 1, norms)
    unit -= unit.mean(axis=0)
    variances, directions = np.linalg.eigh(unit.T @ unit)  # ascending
    total = max(variances.sum(), np.finfo(float).tiny)
    points = unit @ directions[:, ::-1][:, :2]
    shares = np.clip(variances[::-1][:2] / total, 0, 1)
    missing = 2 - points.shape[1]  # vectors of width 1 lie on a line
    return np.pad(points, [(0, 0), (0, missing)]), np.pad(shares, (0, missing))


def map_figure(
    vectors: np.ndarray,
    labels: np.ndarray | None = None,
    class_names: Sequence[str] | None = None,
    *,
    legend: bool = True,
) -> Figure:
    """A map of embeddings by their first two principal components, after L2 normalization.

    As a linear projection it hides the other directions, and its axes tell how much of the variance
    they show; but unlike t-SNE and UMAP, it invents no clusters or distances.

    Args:
        vectors: float `[n, d]`.
        labels: int `[n]`; default: None. The 20 most frequent classes each have a color and shape,
            the others share a gray.
        class_names: list of str; default: None, the numbers.
        legend: draw the legend, if there are labels; default: True.

    Returns:
        `matplotlib.figure.Figure`.

    Raises:
        ValueError: fewer than two rows, numbers that are not finite, or labels of another length.
    """
    points, shares = principal_plane(vectors)
    figure, axes = _figure(5.4, 4.6)
    marks, size = _scatter(axes, points, labels, class_names)
    if marks and legend:
        scale = (36 / size) ** 0.5  # so that marks in the legend always have the same size
        _legend(axes, marks, loc="center left", bbox_to_anchor=(1.0, 0.5), markerscale=scale)
    axes.set_xlabel(f"component 1 ({shares[0]:.0%} of the variance)")
    axes.set_ylabel(f"component 2 ({shares[1]:.0%})")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_aspect("equal", "datalim")
    return figure


def _scatter(axes, points, labels, class_names):
    """Draws the points; returns the marks of the legend {name: marks}, and their size in pt²."""
    size = float(np.clip(30_000 / len(points), 4, 36))
    style = {"s": size, "alpha": 0.75, "linewidths": 0, "rasterized": True}
    if labels is None:
        axes.scatter(*points.T, color=COLORS[0], **style)
        return {}, size
    labels, marks = _labels(labels, len(points)), {}
    turn = np.arange(len(points)) % 8  # drawn in turns, so that no class covers the others
    for t in range(8):
        for name, classes, color, marker in class_looks(labels, class_names):
            x, y = points[np.isin(labels, classes) & (turn == t)].T
            marks[name] = axes.scatter(x, y, color=color, marker=marker, **style)
    return marks, size


def class_looks(
    labels: np.ndarray, class_names: Sequence[str] | None = None
) -> list[tuple[str, Any, str, str]]:
    """The color and marker of each class of a map, as in its legend.

    Args:
        labels: int `[n]`.
        class_names: list of str; default: None, the numbers.

    Returns:
        A list of (name, classes, color, marker): first an entry for all rare classes, if any, then
        one for each other class.
    """
    classes, counts = np.unique(labels, return_counts=True)
    own = np.sort(classes[np.argsort(-counts, kind="stable")[:_MAX_CLASSES]])
    rest = classes[~np.isin(classes, own)]
    looks: list[tuple[str, Any, str, str]] = []
    if len(rest):
        looks.append((f"{len(rest)} others", rest, "#9aa0a6", "o"))
    for i, label in enumerate(own):
        look = COLORS[i % len(COLORS)], _MARKERS[i % len(_MARKERS)]
        looks.append((class_name(label, class_names), [label], *look))
    return looks


def _labels(labels, rows):
    labels = np.asarray(labels)
    if labels.shape != (rows,):
        raise ValueError(f"Expected {rows} labels, one per row; received {labels.shape}.")
    return labels


def class_name(label: int, class_names: Sequence[str] | None = None) -> str:
    """The name of a class, or its number if it has none."""
    label = int(label)
    return str(class_names[label]) if class_names and 0 <= label < len(class_names) else str(label)


def _legend(axes, handles, **options):
    """Draws the legend of {name: line or marks}; names are not read as formulas."""
    legend = axes.legend(
        list(handles.values()), list(handles), frameon=False, fontsize=9, labelcolor=_INK, **options
    )
    for text in legend.get_texts():
        text.set_parse_math(False)


def _figure(width, height):
    """A transparent figure, width and height in inches, with one pair of light axes."""
    figure = Figure(figsize=(width, height), layout="constrained", facecolor="none")
    axes = figure.add_subplot(facecolor="none")
    axes.tick_params(colors=_INK, labelsize=9)
    axes.xaxis.label.set_color(_INK)
    axes.yaxis.label.set_color(_INK)
    axes.grid(color=_INK, alpha=0.2, linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["bottom", "left"]].set_color(_INK)
    axes.set_axisbelow(True)
    return figure, axes


def inline_svg(figure: Figure, name: str, description: str) -> str:
    """A figure as SVG for an HTML page, in the colors and fonts of the page.

    Args:
        figure: `matplotlib.figure.Figure`.
        name: letters and digits; makes the ids of the figures of a page unique.
        description: text for screen readers.

    Returns:
        The `<svg>` element as a string; it loads nothing.
    """
    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        figure.savefig(buffer, format="svg", metadata={"Date": None}, dpi=200)
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :].strip()
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r"<style.*?</style>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\bid="', f'id="{name}-', svg)
    svg = re.sub(r'(xlink:href="#|url\(#)', rf"\g<1>{name}-", svg)
    svg = re.sub(r"font-family: [^;\"]*;?", "", svg)
    svg = svg.replace(_INK, "currentColor")
    box = re.findall(r'viewBox="([^"]*)"', svg)[0]
    start = f'<svg viewBox="{box}" role="img" aria-label="{html.escape(description)}">'
    return start + svg[svg.index(">") + 1 :]
