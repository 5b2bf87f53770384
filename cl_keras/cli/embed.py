"""Writes the features of images to a file, with their names."""

import numpy as np
import pyarrow
import pyarrow.parquet

from cl_keras import data, evaluation
from cl_keras.cli import outputs, trained
from cl_keras.cli.commands import Embed
from cl_keras.files import replacing


def main(flags: Embed) -> None:
    """Encodes the images and writes the file."""
    path = outputs.checked(flags.out, ".npz", ".parquet")
    encoder = trained.load_encoder(flags)
    options = trained.image_options(encoder)
    source = data.load(flags.data, max_bad_share=flags.max_bad_share, **options)
    found = evaluation.features(encoder, source.batches(flags.batch_size, shuffle=False))
    columns = {"embedding": found.vectors, "index": found.index}
    if source.names is not None:
        columns["name"] = np.asarray(source.names, dtype=str)[found.index]
    if found.labels is not None:
        columns["label"] = found.labels
    with replacing(path) as temporary:
        _write(temporary, columns)
    print(f"{len(found)} vectors of {found.vectors.shape[1]} numbers are in {path}.")
    if source.skipped:
        print(f"{len(source.skipped)} files could not be read and were left out:")
        for name, reason in source.skipped[:10]:
            print(f"  {name}: {reason}")


def _write(path, columns):
    if path.suffix == ".npz":
        np.savez(path, **columns)
        return
    vectors = columns["embedding"]
    flat = pyarrow.array(vectors.reshape(-1))
    table = {name: pyarrow.array(column) for name, column in columns.items() if name != "embedding"}
    table["embedding"] = pyarrow.FixedSizeListArray.from_arrays(flat, vectors.shape[1])
    pyarrow.parquet.write_table(pyarrow.table(table), path)
