"""The report of a run, a single self-contained HTML file."""

import os
import pathlib
from typing import TypeGuard

import numpy as np

from cl_keras.files import write_atomically
from cl_keras.report import details, sections
from cl_keras.report.map import SCRIPT, script_hash
from cl_keras.report.stylesheet import CSS
from cl_keras.version import __version__

_MARK = '<meta name="generator" content="cl_keras'  # marks a file as a report


def write(
    path: str | os.PathLike,
    *,
    title: str,
    verdict: dict | None = None,
    config: dict | None = None,
    history: dict | None = None,
    baselines: dict | None = None,
    table: list[dict] | None = None,
    label_curve: dict | None = None,
    classes: dict | None = None,
    health: dict | None = None,
    facts: dict | None = None,
    views: np.ndarray | None = None,
    originals: np.ndarray | None = None,
    neighbors: dict | None = None,
    embeddings: dict | None = None,
    pairs: dict | None = None,
    notes: list[str] | None = None,
) -> pathlib.Path:
    """Writes the report of a run as a self-contained HTML page.

    Parts that are not given are left out. The page loads nothing: pictures, styles and its one
    script are inside, and its policy forbids everything else. It follows the reader's light or dark
    mode, and can be printed.

    Args:
        path: path of the file, written atomically; its folder is created if needed. An earlier
            report is replaced, any other file is not.
        title: heading of the page.
        verdict: {"text": str, "good": bool}, the conclusion, shown first.
        config: {setting: value}, nested dictionaries allowed.
        history: {metric: list of numbers}, such as loss, contrastive_accuracy, learning_rate,
            knn, and "epoch" for the horizontal axis.
        baselines: {metric: {name: value}}, drawn as lines in the plot of the metric.
        table: list of rows {"name": str, metric: cell, …}, including baselines. A cell is a
            number, or {"value": share, "interval": (low, high), "best": bool}.
        label_curve: {encoder: {"labels": [n], "value": [n], "low": [n], "high": [n]}}, shares
            by the number of labels.
        classes: {"confusion": `[C, C]` counts, rows are the true classes, "class_names": C names}.
        health: {"findings": [{"name", "sentence"}], "history": [{"step", vital: value}]}.
        facts: {name: value} of the run, such as duration, hardware and versions.
        views: `[n, v, h, w, c]` in 0..255, v views of n images.
        originals: `[n, h, w, c]` in 0..255, the images from which the views were made.
        neighbors: {"queries": `[q, h, w, c]`, "neighbors": `[q, k, h, w, c]`} and, if known,
            "query_labels" and "query_names" `[q]`, "neighbor_labels", "neighbor_names" and
            "similarities" `[q, k]`, "class_names".
        embeddings: {"vectors": `[n, d]`} and, if known, "labels" `[n]`, "class_names", "images"
            `[n, h, w, c]` and "names" for the thumbnails of the map.
        pairs: {"images": [first, second], each `[n, h, w, c]`, "names": [first, second], each a
            list of n names, "correlations": [n]}, near-duplicates side by side.
        notes: remarks for readers of the numbers.

    Returns:
        The `pathlib.Path` written.

    Raises:
        ValueError: data in another form.
        FileExistsError: `path` is a folder, or a file that is not a report.
        OSError: `path` cannot be written.
    """
    path = pathlib.Path(path)
    _check_replaceable(path)
    parts = [
        ("verdict", "Verdict", verdict and sections.verdict(verdict)),
        ("labels", "Accuracy by number of labels", label_curve and sections.labels(label_curve)),
        ("metrics", "Metrics", table and sections.table(table)),
        ("notes", "Notes", notes and sections.notes(notes)),
        ("pairs", "Pairs", pairs and sections.pairs(pairs)),
        ("curves", "Training", history and sections.curves(history, baselines)),
        ("health", "Health", health and details.health(health)),
        ("classes", "Classes", classes and details.classes(classes)),
        ("views", "Views", _has_images(views) and sections.views(views, originals)),
        ("neighbors", "Nearest neighbors", neighbors and sections.neighbors(neighbors)),
        ("map", "Map of the embeddings", embeddings and sections.embedding_map(embeddings)),
        ("facts", "The run", facts and sections.configuration(facts)),
        ("configuration", "Configuration", config and sections.configuration(config)),
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, _page(title, [part for part in parts if part[2]]))
    return path


def _has_images(images: np.ndarray | None) -> TypeGuard[np.ndarray]:
    return images is not None and len(images) > 0


def _page(title, parts):
    """The page as HTML, from parts (anchor, heading, content)."""
    title = sections.escape(title)
    links = "".join(f'<a href="#{anchor}">{name}</a>' for anchor, name, _ in parts)
    body = "\n".join(
        f'<section id="{anchor}">\n<h2>{name}</h2>\n{content}\n</section>'
        for anchor, name, content in parts
    )
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
{_MARK} {__version__}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src {script_hash()}">
<title>{title}</title>
<style>{CSS}</style>
</head>
<body>
<header>
<h1>{title}</h1>
{f"<nav>{links}</nav>" if len(parts) > 1 else ""}
</header>
<main>
{body}
</main>
<footer>Written by cl_keras {__version__}.</footer>
<script>{SCRIPT}</script>
</body>
</html>
"""


def _check_replaceable(path):
    """Raises FileExistsError if `path` exists and is not an earlier report."""
    if path.is_dir():
        raise FileExistsError(f"{path} must be a file; received a folder. Append report.html.")
    if path.exists():
        with path.open("rb") as file:
            if _MARK.encode() not in file.read(1024):
                raise FileExistsError(
                    f"{path} exists and is not a report of cl_keras, so it is not replaced. Choose "
                    "another name, or move the file."
                )
