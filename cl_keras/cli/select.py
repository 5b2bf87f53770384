"""Says which images to label next."""

import csv
import io
import pathlib

import numpy as np

from cl_keras import data, downstream, evaluation
from cl_keras.cli import trained
from cl_keras.files import write_atomically


def main(flags):
    """Prints or writes the list."""
    encoder = trained.load_encoder(flags)
    spec = flags.data
    if spec is None and flags.run is not None:
        spec = trained.run_of(flags).config["data"]
    if spec is None:
        raise ValueError("Give the images with --data.")
    if flags.out is not None and pathlib.Path(flags.out).exists():
        raise FileExistsError(f"{flags.out} exists and is left as it is. Choose another name.")
    source = data.load(spec, labels=flags.labels, **trained.image_options(encoder))
    found = evaluation.features(encoder, source)
    labeled = None if found.labels is None else np.flatnonzero(found.labels >= 0)
    free = len(found) - (0 if labeled is None else len(labeled))
    rows = downstream.select(found.vectors, min(flags.n, free), labeled=labeled)
    names = source.names or [str(row) for row in range(len(source))]
    chosen = [names[found.index[row]] for row in rows]
    if flags.out is None:
        print("\n".join(chosen))
        return
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([["file", "label"], *([name, ""] for name in chosen)])
    write_atomically(pathlib.Path(flags.out), text.getvalue())
    print(f"{len(chosen)} of {len(found)} images to label next are in {flags.out}.")
