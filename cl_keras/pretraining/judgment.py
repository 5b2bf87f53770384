"""Evaluates an encoder against baselines, and writes the table, the verdict and the report."""

import json
import os
import pathlib

import keras

from cl_keras import evaluation
from cl_keras.data import Source
from cl_keras.downstream import duplicates
from cl_keras.evaluation.metric import clear_leader
from cl_keras.files import write_atomically
from cl_keras.pretraining import evaluation_report
from cl_keras.pretraining.evaluation_report import Evaluation
from cl_keras.pretraining.sources import config_of
from cl_keras.recipes import build
from cl_keras.runs import Run


def judge(run: Run, train_source: Source, test_source: Source) -> Evaluation:
    """Evaluates a finished run, and writes evaluation.json and report.html into its folder.

    Args:
        run: a finished `Run`.
        train_source: its training images, or similar ones, with labels.
        test_source: images to classify.

    Returns:
        `Evaluation`.
    """
    untrained = build.make_encoder(config_of(run), train_source.image_shape)
    sources = (train_source, test_source)
    known = evaluation_report.training_of(run, train_source)
    result = evaluate_encoder(run.load_encoder(), untrained, *sources, training=known)
    save(result, run.folder)
    path = evaluation_report.write(run.folder / "report.html", result, *sources, run=run)
    show(result, path)
    return result


def evaluate_encoder(
    learned: keras.Model,
    untrained: keras.Model,
    train_source: Source,
    test_source: Source,
    *,
    training: evaluation.Training | None = None,
) -> Evaluation:
    """Evaluates an encoder and its baselines.

    Args:
        learned: the encoder.
        untrained: the same encoder before training.
        train_source: images of the bank.
        test_source: images to classify.
        training: `evaluation.Training`, the facts of the run; default: None.

    Returns:
        `Evaluation`.
    """
    encoders = {
        "raw pixels": evaluation.raw_pixels,
        "PCA-128, whitened": evaluation.pca_whitened(train_source),
        "untrained encoder": untrained,
    }
    sources = (train_source, test_source)
    rows = evaluation.table(encoders, *sources, curve=True)
    encoded = evaluation.encode(learned, *sources, name=evaluation.LEARNED)
    rows[evaluation.LEARNED] = evaluation.metrics_of(encoded, curve=True)
    health = evaluation.health(encoded.test.vectors, encoded.perturbed.vectors)
    verdict = evaluation.verdict(rows, health, training)
    return Evaluation(rows, health, verdict, encoded, _leaks(*sources))


def _leaks(train_source, test_source):
    """A sentence about test images that are nearly training images, or "" if there are none."""
    pairs = duplicates(train_source, test_source)
    leaked = len({pair.second for pair in pairs})
    if not leaked:
        return ""
    return (
        f"{leaked:,} of {len(test_source):,} test images are near-duplicates of training images, "
        "so the accuracy on new images may be lower. `cl-keras duplicates` shows them."
    )


def save(result: Evaluation, folder: str | os.PathLike) -> None:
    """Writes evaluation.json."""
    plain = {
        "verdict": result.verdict.as_json(),
        "encoders": {
            name: [metric.as_json() for metric in row] for name, row in result.rows.items()
        },
        "health": result.health,
        "leaks": result.leaks,
    }
    path = pathlib.Path(folder) / "evaluation.json"
    write_atomically(path, json.dumps(plain, indent=2) + "\n")


def show(result: Evaluation, path: pathlib.Path | None) -> None:
    """Prints the tables, the path of the report, and finally the verdict."""
    print("\n" + as_text(result))
    if curve := curve_as_text(result):
        print("\n" + curve)
    if result.leaks:
        print("\n" + result.leaks)
    if path is not None:
        print(f"\nThe report is {path}.")
    print("\n" + result.verdict.text)


def as_text(result: Evaluation) -> str:
    """The table of the metrics in percent; a star marks values that are best beyond the error."""
    balanced = result.verdict.balanced
    titles = {
        key: title
        for key, title in evaluation.METRICS.items()
        if any(key in row for row in result.by_name.values())
    }
    lines = _lines(result, titles)
    if balanced:
        lines.append("Accuracies are balanced, i.e. means over the classes, which are uneven.")
    if any("*" in line for line in lines):
        lines.append("* better than all other rows by more than the error (95 %)")
    return "\n".join(lines)


def curve_as_text(result: Evaluation) -> str:
    """The label curve in percent, or "" if there is none."""
    names = [
        metric.name for metric in result.rows[evaluation.LEARNED] if metric.name.endswith("_labels")
    ]
    if not names:
        return ""
    titles = {name: name.split("_")[1] for name in names} | {"linear": "all"}
    lines = _lines(result, titles, corner="labels")
    return "\n".join(line for line in lines if not line.startswith(evaluation.MAJORITY))


def _lines(result, titles, corner=""):
    """A heading and one line per row."""
    widest = max(map(len, result.rows))
    widths = {key: max(len(title), 6) for key, title in titles.items()}
    lines = [f"{corner:{widest}}" + "".join(f"  {t:>{widths[k]}} " for k, t in titles.items())]
    leaders = {key: leader(result, key) for key in titles}
    for name, row in result.by_name.items():
        cells = ""
        for key, width in widths.items():
            share = result.share(row.get(key))
            text = "–" if share is None else f"{100 * share:.1f}"
            cells += f"  {text:>{width}}{'*' if leaders[key] == name else ' '}"
        lines.append((f"{name:{widest}}" + cells).rstrip())
    return lines


def leader(result: Evaluation, key: str) -> str | None:
    """The row that is best in a metric by more than the error, or None."""
    metrics = {name: row[key] for name, row in result.by_name.items() if key in row}
    return clear_leader(metrics, balanced=result.verdict.balanced)
