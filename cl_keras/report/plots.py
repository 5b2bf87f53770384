"""Curves of a run and the map of its embeddings, as matplotlib figures and inline SVG."""

import html
import io
import re

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullLocator

# Petroff (2021): ten colors that stay apart under the common color blindnesses.
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
_MARKERS = "o^sDvPX<>"  # nine against ten colors: two classes of one color differ in shape
_MAX_CLASSES = 20  # in the legend; further classes share one gray
_INK = "#5b6470"  # reads on white and on black; in a page it becomes the page's own color


def series(history):
    """The curves of a history, tidied.

    Args:
        history: {key: list of numbers}; "epoch" is the horizontal axis (by default 1, 2, …).
            Numbers may be strings, as a CSV file holds them; empty ones are gaps.

    Returns:
        {key: (x, y)}, float arrays of one length without gaps; keys without a number are left
        out, `val_…` keys stay beside their own.

    Raises:
        ValueError: an entry that is no number.
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


def curve_figures(history, baselines=None):
    """One figure for each metric of a history; `val_x` is drawn dashed beside `x`.

    Args:
        history: see `series`.
        baselines: {key: {name: value}}, drawn as horizontal lines; default: none.

    Returns:
        {key: `matplotlib.figure.Figure`}, the usual metrics first.

    Raises:
        ValueError: an entry that is no number.
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


def label_figure(curves):
    """Accuracy by number of labels, a line with its 95 % interval for each encoder.

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


def principal_plane(vectors):
    """Places vectors on the plane of their two greatest principal components.

    Args:
        vectors: float [n, D], n ≥ 2; L2-normalized first, then centered.

    Returns:
        `(places, shares)`: float [n, 2], and the shares of the variance along each axis [2].

    Raises:
        ValueError: not a matrix of at least two finite rows.
    """
    vectors = np.asarray(vectors, np.float64)
    if vectors.ndim != 2 or len(vectors) < 2 or not np.isfinite(vectors).all():
        raise ValueError(
            "Expected at least two rows of finite numbers [n, D]; received shape "
            f"{vectors.shape}{'' if np.isfinite(vectors).all() else ' with NaN or infinity'}."
        )
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit = vectors / np.where(norms == 0, 1, norms)
    unit -= unit.mean(axis=0)
    variances, directions = np.linalg.eigh(unit.T @ unit)  # ascending
    total = max(variances.sum(), np.finfo(float).tiny)
    places = unit @ directions[:, ::-1][:, :2]
    shares = np.clip(variances[::-1][:2] / total, 0, 1)
    missing = 2 - places.shape[1]  # vectors of width 1 lie on a line
    return np.pad(places, [(0, 0), (0, missing)]), np.pad(shares, (0, missing))


def map_figure(vectors, labels=None, class_names=None, *, legend=True):
    """A map of embeddings: their first two principal components, after L2 normalization.

    A linear picture: it hides what lies in other directions, and says on its axes how much of the
    variance it shows; but unlike t-SNE or UMAP it invents no clusters and no distances.

    Args:
        vectors: float [n, D].
        labels: int [n], or None. The 20 most frequent classes get a color and a shape of their
            own, the others share a gray.
        class_names: list of str, or None for the numbers.
        legend: draw the legend, where there are labels.

    Returns:
        `matplotlib.figure.Figure`.

    Raises:
        ValueError: fewer than two rows, numbers not finite, labels of another length.
    """
    places, shares = principal_plane(vectors)
    figure, axes = _figure(5.4, 4.6)
    marks, size = _scatter(axes, places, labels, class_names)
    if marks and legend:
        scale = (36 / size) ** 0.5  # marks in the legend are of one size
        _legend(axes, marks, loc="center left", bbox_to_anchor=(1.0, 0.5), markerscale=scale)
    axes.set_xlabel(f"component 1 ({shares[0]:.0%} of the variance)")
    axes.set_ylabel(f"component 2 ({shares[1]:.0%})")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_aspect("equal", "datalim")
    return figure


def _scatter(axes, places, labels, class_names):
    """Draws the points; the marks of the legend {name: points}, and their size in points²."""
    size = float(np.clip(30_000 / len(places), 4, 36))
    style = {"s": size, "alpha": 0.75, "linewidths": 0, "rasterized": True}
    if labels is None:
        axes.scatter(*places.T, color=COLORS[0], **style)
        return {}, size
    labels, marks = _labels(labels, len(places)), {}
    turn = np.arange(len(places)) % 8  # drawn in turns, so that no class covers the others
    for t in range(8):
        for name, classes, color, marker in class_looks(labels, class_names):
            x, y = places[np.isin(labels, classes) & (turn == t)].T
            marks[name] = axes.scatter(x, y, color=color, marker=marker, **style)
    return marks, size


def class_looks(labels, class_names=None):
    """How the classes of a map are drawn, as its legend tells it.

    Args:
        labels: int [n].
        class_names: list of str, or None for the numbers.

    Returns:
        A list of (name, classes, color, marker): the classes without a look of their own first,
        together, then one entry for each of the others.
    """
    classes, counts = np.unique(labels, return_counts=True)
    own = np.sort(classes[np.argsort(-counts, kind="stable")[:_MAX_CLASSES]])
    rest = classes[~np.isin(classes, own)]
    looks = [(f"{len(rest)} others", rest, "#9aa0a6", "o")] if len(rest) else []
    for i, label in enumerate(own):
        look = COLORS[i % len(COLORS)], _MARKERS[i % len(_MARKERS)]
        looks.append((class_name(label, class_names), [label], *look))
    return looks


def _labels(labels, rows):
    labels = np.asarray(labels)
    if labels.shape != (rows,):
        raise ValueError(f"Expected {rows} labels, one per row; received {labels.shape}.")
    return labels


def class_name(label, class_names=None):
    """The name of a class, or its number where it has none."""
    label = int(label)
    return str(class_names[label]) if class_names and 0 <= label < len(class_names) else str(label)


def _legend(axes, handles, **place):
    """The legend of {name: line or points}; names are no formulas."""
    legend = axes.legend(
        list(handles.values()), list(handles), frameon=False, fontsize=9, labelcolor=_INK, **place
    )
    for text in legend.get_texts():
        text.set_parse_math(False)


def _figure(width, height):
    """An empty figure in inches, transparent, with one pair of quiet axes."""
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


def inline_svg(figure, name, description):
    """A figure as SVG to stand in an HTML page, in the page's own ink and type.

    Args:
        figure: `matplotlib.figure.Figure`.
        name: letters and digits; keeps the ids of several figures in one page apart.
        description: what is read out in place of the picture.

    Returns:
        The `<svg>` element as a string, without anything that is loaded from elsewhere.
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
    box = re.search(r'viewBox="([^"]*)"', svg)[1]
    start = f'<svg viewBox="{box}" role="img" aria-label="{html.escape(description)}">'
    return start + svg[svg.index(">") + 1 :]
