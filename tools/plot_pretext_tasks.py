"""Draws the pictures of docs/pretext_tasks.md: views as the encoder sees them, and bounds.

    python tools/plot_pretext_tasks.py

It takes about a minute, and writes docs/pictures/pretext_*.png.
"""

import pathlib

import numpy as np
import tensorflow as tf
from matplotlib.figure import Figure

import cl_keras as cl
from cl_keras.losses import mutual_information
from cl_keras.views.patches import tiles

OUT = pathlib.Path(__file__).parents[1] / "docs" / "pictures"
KIND = {"image_size": 28, "channels": 1}
SHOWN = (1, 6, 8)
"""Indices of the bundled images to show."""

BETWEEN = (98, 132, 181)
"""Color between patches and in place of hidden ones; no gray, since all grays occur in images."""

CANDIDATES, DIMENSIONS, DRAWS = 512, 4, 40
COLORS = {"infonce": "#0072b2", "dv": "#d55e00", "jsd": "#009e73"}
NAMES = {"infonce": "InfoNCE", "dv": "Donsker–Varadhan", "jsd": "Jensen–Shannon (2 × divergence)"}


def main():
    OUT.mkdir(parents=True, exist_ok=True)
    images = cl.data.load("fashion_mnist_mini").images(SHOWN)
    save("two_views", cl.views.view_grid(images, cl.views.simclr(**KIND)), side=112)
    puzzle, _ = cl.Jigsaw.default_views(**KIND, num_permutations=24)(images, seed=0, step=0)
    save("jigsaw", beside(images, [puzzle]), side=112)
    grid = cl.CPC.default_views(**KIND, **cl.CPC.recipes["small"].views)(images, seed=0, step=0)
    save("patch_grid", beside(images, [grid]), side=140)
    save("rotations", turned(images), side=84)
    save("relative_position", beside(images, pairs(images)), side=112)
    bounds().savefig(OUT / "pretext_bounds.png", dpi=100)
    for path in sorted(OUT.glob("pretext_*.png")):
        print(f"{path.name}: {path.stat().st_size / 1000:.0f} KB")


def save(name, grid, side):
    cl.report.image_grid(grid, side=side).save(OUT / f"pretext_{name}.png", optimize=True)


def turned(images):
    """Each image, and its views in the order of the rotation that the encoder has to tell."""
    views, label = cl.views.rotations(**KIND)(images, seed=0, step=0)
    ordered = tf.gather(views, tf.argsort(label, axis=1), batch_dims=1)
    return np.concatenate([images[:, None], ordered], axis=1)


def pairs(images):
    """Four pairs of patches: the middle one, and one of the eight around it.

    The second patch is drawn at its position, which the encoder is not shown.
    """
    views = cl.views.relative_position(**KIND)
    rows = np.arange(len(images))
    for step in range(4):
        patches, label = views(images, seed=1, step=step)
        patches = in_color(patches)
        sheet = np.broadcast_to(BETWEEN, [len(images), 9, *patches.shape[2:]]).copy()
        sheet[rows, 4] = patches[:, 0]
        sheet[rows, np.where(label < 4, label, label + 1)] = patches[:, 1]
        yield sheet


def beside(images, columns):
    """Each image, and beside it the sheets of its patches, separated by lines."""
    sheets = []
    for patches in map(in_color, columns):
        size = patches.shape[2]
        framed = np.broadcast_to(BETWEEN, [*patches.shape[:2], size + 1, size + 1, 3]).copy()
        framed[:, :, :size, :size] = patches
        sheets.append(tiles(tf.constant(framed))[:, :-1, :-1])
    side = max(sheet.shape[1] for sheet in sheets) * 4
    enlarged = [
        tf.image.resize(x, [side, side], method="nearest") for x in [in_color(images), *sheets]
    ]
    return np.stack([tf.cast(x, tf.uint8) for x in enlarged], axis=1)


def in_color(images):
    """Gray or color images as arrays with three channels."""
    images = np.asarray(images)
    return np.broadcast_to(images, [*images.shape[:-1], 3])


def bounds():
    """Plots the bounds by the best critic on correlated Gaussians against the truth."""
    known = np.linspace(0, 10, 21)
    found = {name: [] for name in NAMES}
    for information in known:
        correlation = np.sqrt(1 - np.exp(-2 * information / DIMENSIONS))
        draws = np.array(list(estimates(correlation)))
        for name, column in zip(NAMES, draws.T, strict=True):
            found[name].append(column)
    figure = Figure(figsize=(6.4, 4.2), layout="constrained")
    axes = figure.add_subplot()
    axes.plot(known, known, color="black", linestyle="--", linewidth=1, label="truth")
    limit = np.log(CANDIDATES)
    axes.axhline(limit, color="gray", linewidth=1, linestyle=":")
    axes.text(0.1, limit + 0.12, f"log {CANDIDATES}", color="gray")
    for name, values in found.items():
        mean, spread = np.mean(values, axis=1), np.std(values, axis=1)
        axes.plot(known, mean, color=COLORS[name], label=NAMES[name])
        axes.fill_between(known, mean - spread, mean + spread, color=COLORS[name], alpha=0.2)
    axes.set_xlabel("mutual information (nats)")
    axes.set_ylabel("bound")
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def estimates(correlation):
    """Yields the bounds on one batch after another, with `log p(x, y)/(p(x)·p(y))` as scores."""
    generator, rest = np.random.default_rng(0), 1 - correlation**2
    own = tf.eye(CANDIDATES, dtype=tf.bool)
    for _ in range(DRAWS):
        x, noise = generator.normal(size=[2, CANDIDATES, DIMENSIONS])
        y = correlation * x + np.sqrt(rest) * noise
        # For each dimension: -½·log(1 - ρ²) + (2ρxy - ρ²(x² + y²)) / 2(1 - ρ²)
        squares = np.sum(x**2, axis=1)[:, None] + np.sum(y**2, axis=1)
        scores = (2 * correlation * x @ y.T - correlation**2 * squares) / (2 * rest)
        scores = tf.constant(scores - 0.5 * DIMENSIONS * np.log(rest))
        yield [float(mutual_information.BOUNDS[name](scores, own)) for name in NAMES]


if __name__ == "__main__":
    main()
