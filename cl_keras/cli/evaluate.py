"""Measures an encoder beside its baselines, and writes the report of a run."""

import json
import pathlib

import keras
import numpy as np

from cl_keras import data, evaluation, report
from cl_keras.cli import trained
from cl_keras.files import write_atomically
from cl_keras.recipes import build
from cl_keras.recipes.config import Config
from cl_keras.runs import Run
from cl_keras.views import view_grid

QUERIES, NEIGHBORS, VIEWED, MAPPED = 8, 8, 8, 2000
"""Images in the report: queries and neighbors of each, images with views, points of the map."""

UNPLOTTED = {"step", "seconds"}
"""Columns of metrics.csv that make no curve."""

NOTES = [
    "The perturbations are of the family that the encoder was trained to ignore: that is what it "
    "is for, and where it should win. On clean images of this kind whitened PCA is hard to beat in "
    "a short run.",
    "k-NN votes over the clean training images. The linear measures fit a classifier to frozen "
    "features; few labels are means over 5 draws.",
]


def main(flags):
    """Measures, prints the table, and writes the report."""
    if flags.data is not None and flags.train_data is not None:
        raise ValueError("--data and --train_data are the same; give one.")
    bank = flags.data or flags.train_data
    if flags.run is None or flags.zoo is not None or flags.encoder is not None:
        _evaluate_encoder(flags, bank)
        return
    run = Run(flags.run)
    test = flags.test_data or run.config["test_data"]
    if test is None:
        raise ValueError("The run names no test images; give --test_data.")
    config = _config_of(run)
    train_source = build.load_data(bank or config.data, config)
    test_source = build.load_data(test, config)
    evaluate(run, train_source, test_source)


def evaluate(run, train_source, test_source):
    """Measures a finished run, prints its table, and writes evaluation.json and report.html."""
    learned = run.load_encoder()
    untrained = build.make_encoder(_config_of(run), train_source.image_shape)
    result = _measure(learned, untrained, train_source, test_source, run.folder)
    path = _write_report(run, result, learned, train_source, test_source)
    print(f"The report is {path}.")
    return result


def _config_of(run):
    return Config.from_dict(run.config, f"{run.folder}/config.json")


def _evaluate_encoder(flags, bank):
    """The same for an encoder without a run: the numbers alone."""
    learned = trained.load_encoder(flags)
    if bank is None or flags.test_data is None:
        raise ValueError("An encoder without a run needs --data and --test_data.")
    options = trained.image_options(learned)
    sources = [data.load(spec, **options) for spec in (bank, flags.test_data)]
    keras.utils.set_random_seed(0)
    _measure(learned, keras.models.clone_model(learned), *sources, flags.out)


def _measure(learned, untrained, train_source, test_source, folder):
    encoders = {
        "raw pixels": evaluation.raw_pixels,
        "PCA-128, whitened": evaluation.pca_whitened(train_source),
        "untrained encoder": untrained,
        "learned encoder": learned,
    }
    rows = evaluation.table(encoders, train_source, test_source)
    if folder is not None:
        pathlib.Path(folder).mkdir(parents=True, exist_ok=True)
        path = pathlib.Path(folder) / "evaluation.json"
        plain = {name: [metric.as_json() for metric in row] for name, row in rows.items()}
        write_atomically(path, json.dumps({"encoders": plain}, indent=2) + "\n")
    print("\n" + as_text(rows) + "\n")
    return rows


def as_text(rows):
    """The table of the metrics, in percent, the baselines above."""
    table = _shares(rows)
    shown = [key for key in evaluation.METRICS if any(key in row for row in table.values())]
    titles = [evaluation.METRICS[key] for key in shown]
    widest = max(map(len, table))
    lines = [" " * widest + "".join(f"  {title:>{_width(title)}}" for title in titles)]
    for name, row in table.items():
        cells = [
            f"  {100 * row[key]:{_width(title)}.1f}" if key in row else f"  {'–':>{_width(title)}}"
            for key, title in zip(shown, titles, strict=True)
        ]
        lines.append(f"{name:{widest}}" + "".join(cells))
    return "\n".join(lines)


def _shares(rows):
    """{encoder: {metric: share}}."""
    return {name: {metric.name: metric.value for metric in row} for name, row in rows.items()}


def _width(title):
    return max(len(title), 6)


def _write_report(run, rows, encoder, train_source, test_source):
    viewed = train_source.images(_spread(len(train_source), VIEWED))
    views = build.make_views(_config_of(run), train_source.image_shape)
    bank = evaluation.features(encoder, train_source, progress=False)
    test = evaluation.features(encoder, test_source, progress=False)
    table = [
        {"name": name}
        | {title: row[key] for key, title in evaluation.METRICS.items() if key in row}
        for name, row in _shares(rows).items()
    ]
    return report.write(
        run.folder / "report.html",
        title=f"{run.config['method']} on {train_source.name}",
        config=run.config,
        history={key: column for key, column in run.metrics().items() if key not in UNPLOTTED},
        table=table,
        views=view_grid(viewed, views, draws=3)[:, 1:],
        originals=viewed,
        neighbors=_neighbors(bank, test, train_source, test_source),
        embeddings=_embeddings(test, test_source),
        notes=NOTES,
    )


def _neighbors(bank, test, train_source, test_source):
    """Some test images, and the training images nearest to them."""
    rows = _spread(len(test), QUERIES)
    places, similarities = evaluation.neighbors(bank.vectors, test.vectors[rows], k=NEIGHBORS)
    pictures = train_source.images(bank.index[places].reshape(-1))
    found = {
        "queries": test_source.images(test.index[rows]),
        "neighbors": pictures.reshape(*places.shape, *train_source.image_shape),
        "similarities": similarities,
    }
    if bank.labels is not None and test.labels is not None:
        found |= {
            "query_labels": test.labels[rows],
            "neighbor_labels": bank.labels[places],
            "class_names": test_source.class_names,
        }
    return found


def _embeddings(test, source):
    rows = _spread(len(test), MAPPED)
    found = {"vectors": test.vectors[rows]}
    if test.labels is not None:
        found |= {"labels": test.labels[rows], "class_names": source.class_names}
    return found


def _spread(count, most):
    """Up to `most` places, evenly over `count`."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).astype(int))
