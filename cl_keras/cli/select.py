"""Chooses images to label next."""

import csv
import io

import numpy as np

from cl_keras import data, downstream, evaluation
from cl_keras.cli import outputs, trained
from cl_keras.cli.commands import Select
from cl_keras.files import write_atomically


def main(flags: Select) -> None:
    """Prints or writes the list."""
    encoder = trained.load_encoder(flags)
    path = None if flags.out is None else outputs.checked(flags.out)
    options = trained.image_options(encoder)
    source = data.load(trained.data_spec(flags), labels=flags.labels, **options)
    found = evaluation.features(encoder, source)
    labeled = None if found.labels is None else np.flatnonzero(found.labels >= 0)
    free = len(found) - (0 if labeled is None else len(labeled))
    rows = downstream.select(found.vectors, min(flags.n, free), labeled=labeled)
    names = source.names or [str(row) for row in range(len(source))]
    chosen = [names[found.index[row]] for row in rows]
    if path is None:
        print("\n".join(chosen))
        return
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([["file", "label"], *([name, ""] for name in chosen)])
    write_atomically(path, text.getvalue())
    print(f"{path} has {len(chosen)} of {len(found)} images to label next.")
