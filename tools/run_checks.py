"""Checks of the folders of runs, for `kill_test.py`."""

import csv
import json

import numpy as np
from PIL import Image

from cl_keras.files import sha256
from cl_keras.runs import records

MIN_AT_HOME = 0.95
"""Share of the images that must be nearest to their own row of the bank."""


def unreadable(checkpoints):
    """A complaint for each record or checkpoint that is damaged."""
    try:
        named = _whole_records(checkpoints)
    except ValueError as error:
        return [f"a broken record in {checkpoints}: {error}"]
    broken = []
    for record in named:
        path = checkpoints / record["file"]
        # Old checkpoints are removed in order: manifest, record, arrays.
        if not path.exists() or sha256(path) != record["sha256"]:
            broken.append(f"{path} is not as recorded")
    return broken


def differences(whole, killed):
    """A complaint for each difference between two finished runs."""
    found = []
    ends = [
        max(_whole_records(run / "checkpoints"), key=lambda r: r["step"]) for run in (whole, killed)
    ]
    if ends[0]["step"] != ends[1]["step"] or ends[0]["logs"] != ends[1]["logs"]:
        found.append(f"the ends differ: {ends}")
    arrays = [
        np.load(run / "checkpoints" / end["file"])
        for run, end in zip((whole, killed), ends, strict=True)
    ]
    for name in arrays[0].files:
        if arrays[0][name].tobytes() != arrays[1][name].tobytes():
            found.append(f"variable {name} differs")
    tables = []
    for run in (whole, killed):
        with open(run / "metrics.csv", newline="") as file:
            rows = list(csv.DictReader(file))
        for row in rows:
            del row["seconds"], row["images_per_second"]
        tables.append(rows)
    for expected, received in zip(*tables, strict=True):
        found += [
            f"metrics.csv, epoch {expected['epoch']}: {name} is {received[name]}, not {value}"
            for name, value in expected.items()
            if received[name] != value
        ]
    if not (killed / "encoder.keras").exists():
        found.append("there is no encoder")
    print(f"compared {len(arrays[0].files)} variables and {len(tables[0])} epochs of metrics")
    return found


def rows_of_other_images(run, images, steps_per_epoch):
    """A complaint if too many images are nearest to another row of the memory bank than their own.

    The images are read here, by their names in images.json, and not by the package.
    """
    from cl_keras.recipes import build  # late, since TensorFlow takes seconds
    from cl_keras.recipes.config import Config
    from cl_keras.runs import Run

    rows = json.loads((run / "images.json").read_text("utf-8"))["images"]
    pixels = [np.asarray(Image.open(images / name))[..., None] for name, *_ in rows]
    trained = Run(run)
    config = Config.from_dict(trained.config, str(run))
    model = build.make_model(config, pixels[0].shape, steps_per_epoch)
    trained.checkpoints.restore(model)
    vectors = model.head(model.predict(np.stack(pixels), verbose=0)).numpy()
    nearest = np.argmax(vectors @ model.bank.bank.numpy().T, axis=1)
    at_home = (nearest == np.arange(len(rows))).mean()
    print(f"{at_home:.1%} of {len(rows)} images are nearest to their own row of the bank")
    return [] if at_home >= MIN_AT_HOME else [f"only {at_home:.1%} are nearest to their own row"]


def _whole_records(checkpoints):
    """What the manifest and the records name; ValueError if one of them is damaged."""
    found, damaged = records.read_all(checkpoints)
    if damaged:
        raise ValueError(f"{damaged} files are damaged")
    return found
