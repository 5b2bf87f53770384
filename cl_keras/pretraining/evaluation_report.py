"""The report of an evaluation."""

import dataclasses
import functools
import json
import os
import pathlib
import platform

import numpy as np

from cl_keras import evaluation, report
from cl_keras.callbacks.health import read as read_health
from cl_keras.data import Source
from cl_keras.data.printable import printable
from cl_keras.evaluation.knn import vote_of_several
from cl_keras.evaluation.labeled import labeled_pair
from cl_keras.evaluation.metric import clear_leader
from cl_keras.pretraining.sources import config_of
from cl_keras.recipes import build
from cl_keras.runs import Run
from cl_keras.views import view_grid

QUERIES, NEIGHBORS, VIEWED, MAPPED = 10, 8, 10, 1500
"""Numbers of queries, neighbors of each, images with views, and points of the map."""

UNPLOTTED = {"step", "seconds"}
"""Columns of metrics.csv that are not plotted."""

NOTES = [
    "The perturbations resemble those that the encoder was trained to ignore; this is what it is "
    "for, and where it should win. On clean images of this kind, whitened PCA is hard to beat in a "
    "short run.",
    "k-NN votes over the clean training images. The linear metrics fit a classifier to frozen "
    "features; those with few labels are means over 5 draws. Errors are 95 % bootstrap intervals "
    "over the test images and the draws; a value is bold if it exceeds all others by more than the "
    "error.",
]

UNEVEN = (
    "The classes are uneven, so the accuracies in the tables are means over the classes. In the "
    "plot of k-NN accuracy during training, every image counts equally, which favors large classes."
)


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """The result of evaluating an encoder.

    Attributes:
        rows: {row: list of `evaluation.Metric`}, the learned encoder last.
        health: health of the learned embeddings, see `evaluation.health`.
        verdict: `evaluation.Verdict`.
        encoded: `evaluation.Encoded` of the learned encoder.
        leaks: a sentence about test images that are near-duplicates of training images; default:
            "", none.
    """

    rows: dict[str, list[evaluation.Metric]]
    health: dict
    verdict: evaluation.Verdict
    encoded: evaluation.Encoded
    leaks: str = ""

    @functools.cached_property
    def by_name(self) -> dict[str, dict[str, evaluation.Metric]]:
        """{row: {metric name: `Metric`}}."""
        return {row: {m.name: m for m in metrics} for row, metrics in self.rows.items()}

    def share(self, metric: evaluation.Metric | None) -> float | None:
        """The value of a metric, balanced if the classes are uneven; None for None."""
        if metric is None:
            return None
        balanced = self.verdict.balanced and metric.balanced is not None
        return metric.balanced if balanced else metric.value

    def interval(self, metric: evaluation.Metric) -> tuple[float, float] | None:
        """The 95 % interval of `share`."""
        balanced = self.verdict.balanced and metric.balanced is not None
        return metric.balanced_interval if balanced else metric.interval


def training_of(run: Run, source: Source) -> evaluation.Training:
    """`evaluation.Training`: the facts of a run on which advice is based."""
    views = build.make_views(config_of(run), source.image_shape)
    each = getattr(views, "views", None) or [views]
    flips = [one.flip for one in each if hasattr(one, "flip")]
    areas = [one.crop_area for one in each if hasattr(one, "crop_area")]
    return evaluation.Training(
        epochs=run.config.get("epochs"),
        images=len(source),
        image_size=source.image_shape[0],
        flips=any(flips) if flips else None,
        crop_area=float(np.min(areas)) if areas else None,
        begun=run.config.get("init") not in (None, "none"),
        history=run.metrics(),
    )


def write(
    path: str | os.PathLike,
    result: Evaluation,
    train_source: Source,
    test_source: Source,
    *,
    run: Run | None = None,
    title: str = "",
) -> pathlib.Path:
    """Writes the report.

    Args:
        path: path of report.html.
        result: `Evaluation`.
        train_source: images of the bank.
        test_source: images that were classified.
        run: the `Run` behind it; default: None.
        title: heading; default: the method and data of the run.

    Returns:
        The `pathlib.Path` written.
    """
    found = result.encoded
    of_run = {}
    if run is not None:
        of_run = _of_run(run, train_source)
        title = title or f"{run.config['method']} on {train_source.name}"
    notes = list(NOTES)
    if result.leaks:
        notes.insert(0, result.leaks)
    if result.verdict.balanced:
        notes.append(UNEVEN)
    return report.write(
        path,
        title=title,
        verdict=_verdict(result),
        table=_table(result),
        label_curve=_label_curve(result),
        baselines={"knn": _baselines(result)},
        neighbors=_neighbors(found.train, found.test, train_source, test_source),
        embeddings=_embeddings(found.test, test_source),
        classes=_classes(found),
        notes=notes,
        **of_run,
    )


def _of_run(run, source):
    viewed = source.images(_spread(len(source), VIEWED))
    views = build.make_views(config_of(run), source.image_shape)
    health = read_health(run.folder / "health.json")
    return {
        "config": run.config,
        "facts": _facts(run) | {"views": views.get_config()},
        "health": health if health["history"] or health["findings"] else None,
        "history": {key: column for key, column in run.metrics().items() if key not in UNPLOTTED},
        "views": view_grid(viewed, views, draws=4)[:, 1:],
        "originals": viewed,
    }


def _facts(run):
    """Duration, hardware, versions and seed of a run."""
    seconds = sum(filter(None, run.metrics().get("seconds", [])))
    versions = run.folder / "versions.json"
    return {
        "duration": f"{seconds / 60:.1f} minutes of training",
        "seed": run.config.get("seed"),
        "evaluated on": f"{platform.machine()}, {os.cpu_count()} cores, {platform.system()}",
        "versions": json.loads(versions.read_text("utf-8")) if versions.is_file() else "not known",
    }


def _baselines(result):
    """{row: k-NN accuracy} of everything except the learned encoder.

    As it is logged in training: over all test images, not balanced.
    """
    return {
        name: row["knn"].value
        for name, row in result.by_name.items()
        if name != evaluation.LEARNED and "knn" in row
    }


def _classes(encoded):
    """The confusion of k-NN on the test images."""
    if not encoded.has_labels:
        return None
    pair = labeled_pair(encoded.train, encoded.test)
    winner = vote_of_several(pair, ks=[20])[20].winner
    count = len(pair.class_names)
    confusion = np.bincount(pair.test_classes * count + winner, minlength=count**2)
    return {"confusion": confusion.reshape(count, count), "class_names": pair.class_names}


def _verdict(result):
    verdict = result.verdict
    good = verdict.outcome == "better" and verdict.healthy
    return {"text": verdict.text, "good": good}


def _table(result):
    """Rows of cells {"value", "interval", "best"} under the metrics' headings."""
    shown = {
        key: title
        for key, title in evaluation.METRICS.items()
        if any(key in row for row in result.by_name.values())
    }
    rows = [{"name": name} for name in result.rows]
    for key, title in shown.items():
        metrics = {name: row[key] for name, row in result.by_name.items() if key in row}
        best = clear_leader(metrics, balanced=result.verdict.balanced)
        for row in rows:
            if row["name"] in metrics:
                metric = metrics[row["name"]]
                row[title] = {
                    "value": result.share(metric),
                    "interval": result.interval(metric),
                    "best": row["name"] == best,
                }
    return rows


def _label_curve(result):
    """{row: {"labels", "value", "low", "high"}} with all labels last, or None."""
    curves = {}
    for name, row in result.by_name.items():
        points = {int(key.split("_")[1]): m for key, m in row.items() if key.endswith("_labels")}
        if points and "linear" in row:
            points[len(result.encoded.train)] = row["linear"]
            intervals = [result.interval(metric) for metric in points.values()]
            curves[name] = {
                "labels": list(points),
                "value": [result.share(metric) for metric in points.values()],
                "low": [low for low, _ in intervals],
                "high": [high for _, high in intervals],
            }
    return curves or None


def _neighbors(bank, test, train_source, test_source):
    """Some test images, and their nearest training images."""
    rows = _spread(len(test), QUERIES)
    count = min(NEIGHBORS, len(bank))
    nearest, similarities = evaluation.neighbors(bank.vectors, test.vectors[rows], k=count)
    pictures = train_source.images(bank.index[nearest].reshape(-1))
    found = {
        "queries": test_source.images(test.index[rows]),
        "neighbors": pictures.reshape(*nearest.shape, *train_source.image_shape),
        "similarities": similarities,
    }
    if train_source.names is not None and test_source.names is not None:
        found["query_names"] = [_file(test_source, row) for row in test.index[rows]]
        found["neighbor_names"] = [
            [_file(train_source, row) for row in near] for near in bank.index[nearest]
        ]
    if bank.labels is not None and test.labels is not None:
        found |= {
            "query_labels": test.labels[rows],
            "neighbor_labels": bank.labels[nearest],
            "class_names": test_source.class_names,
        }
    return found


def _embeddings(test, source):
    rows = _spread(len(test), MAPPED)
    found = {"vectors": test.vectors[rows], "images": source.images(test.index[rows])}
    if source.names is not None:
        found["names"] = [_file(source, row) for row in test.index[rows]]
    if test.labels is not None:
        found |= {"labels": test.labels[rows], "class_names": source.class_names}
    return found


def _file(source, row):
    """The file name of an image, without control characters."""
    return printable(source.names[row])


def _spread(count, most):
    """At most `most` of `count` rows, evenly spaced."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).astype(int))
