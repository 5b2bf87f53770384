"""Judges an encoder beside its baselines: the table, the verdict, the report."""

import json
import pathlib

from cl_keras import evaluation
from cl_keras.downstream import duplicates
from cl_keras.evaluation.metric import clear_leader
from cl_keras.files import write_atomically
from cl_keras.pretraining import evaluation_report
from cl_keras.pretraining.sources import config_of
from cl_keras.recipes import build


def judge(run, train_source, test_source):
    """Measures a finished run, and writes evaluation.json and report.html into its folder.

    Args:
        run: a finished `Run`.
        train_source: the images that it trained on, or others of their kind, with labels.
        test_source: images to classify.

    Returns:
        `Evaluation`.
    """
    untrained = build.make_encoder(config_of(run), train_source.image_shape)
    sources = (train_source, test_source)
    known = evaluation_report.training_of(run, train_source)
    measured = measure(run.load_encoder(), untrained, *sources, training=known)
    save(measured, run.folder)
    path = evaluation_report.write(run.folder / "report.html", measured, *sources, run=run)
    show(measured, path)
    return measured


def measure(learned, untrained, train_source, test_source, *, training=None):
    """Measures an encoder beside its baselines.

    Args:
        learned: the encoder.
        untrained: the same encoder before training.
        train_source: images of the bank.
        test_source: images to classify.
        training: `evaluation.Training`, what is known of the run; default: nothing.

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
    return evaluation_report.Evaluation(rows, health, verdict, encoded, _leaks(*sources))


def _leaks(train_source, test_source):
    """A sentence about test images that are nearly training images, or "" if there are none."""
    pairs = duplicates(train_source, test_source)
    leaked = len({pair.second for pair in pairs})
    if not leaked:
        return ""
    return (
        f"{leaked:,} of {len(test_source):,} test images are near-duplicates of training images: "
        "the accuracy on new images may be lower. `cl-keras duplicates` shows them."
    )


def save(measured, folder):
    """Writes evaluation.json."""
    plain = {
        "verdict": measured.verdict.as_json(),
        "encoders": {
            name: [metric.as_json() for metric in row] for name, row in measured.rows.items()
        },
        "health": measured.health,
        "leaks": measured.leaks,
    }
    path = pathlib.Path(folder) / "evaluation.json"
    write_atomically(path, json.dumps(plain, indent=2) + "\n")


def show(measured, path):
    """Prints the tables, where the report is, and last the verdict."""
    print("\n" + as_text(measured))
    if curve := curve_as_text(measured):
        print("\n" + curve)
    if measured.leaks:
        print("\n" + measured.leaks)
    if path is not None:
        print(f"\nThe report is {path}.")
    print("\n" + measured.verdict.text)


def as_text(measured):
    """The table of the metrics in percent; a star marks what is best beyond the error."""
    balanced = measured.verdict.balanced
    titles = {
        key: title
        for key, title in evaluation.METRICS.items()
        if any(key in row for row in measured.by_name.values())
    }
    lines = _lines(measured, titles)
    if balanced:
        lines.append("Accuracies are balanced: means over the classes, which are uneven.")
    if any("*" in line for line in lines):
        lines.append("* better than every other row beyond the error (95 %)")
    return "\n".join(lines)


def curve_as_text(measured):
    """The label curve in percent, or "" where there is none."""
    names = [
        metric.name
        for metric in measured.rows[evaluation.LEARNED]
        if metric.name.endswith("_labels")
    ]
    if not names:
        return ""
    titles = {name: name.split("_")[1] for name in names} | {"linear": "all"}
    lines = _lines(measured, titles, corner="labels")
    return "\n".join(line for line in lines if not line.startswith(evaluation.MAJORITY))


def _lines(measured, titles, corner=""):
    """A heading and a line for each row."""
    widest = max(map(len, measured.rows))
    widths = {key: max(len(title), 6) for key, title in titles.items()}
    lines = [f"{corner:{widest}}" + "".join(f"  {t:>{widths[k]}} " for k, t in titles.items())]
    leaders = {key: leader(measured, key) for key in titles}
    for name, row in measured.by_name.items():
        cells = ""
        for key, width in widths.items():
            share = measured.share(row.get(key))
            text = "–" if share is None else f"{100 * share:.1f}"
            cells += f"  {text:>{width}}{'*' if leaders[key] == name else ' '}"
        lines.append((f"{name:{widest}}" + cells).rstrip())
    return lines


def leader(measured, key):
    """The row that is best in a metric beyond the error, or None."""
    metrics = {name: row[key] for name, row in measured.by_name.items() if key in row}
    return clear_leader(metrics, balanced=measured.verdict.balanced)
