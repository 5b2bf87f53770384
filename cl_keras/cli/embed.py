"""Writes the features of images to a file, with their names.

  cl-keras embed --run=runs/photos --data=folder:photos --out=photos.npz

A .npz file holds `embedding` [N, D], `index` [N], and `name` [N] where the images have names and
`label` [N] where they have labels; a .parquet file the same as columns. Files that cannot be read
are left out and counted.
"""

import pathlib

import numpy as np
import pyarrow
import pyarrow.parquet
from absl import flags as absl_flags

from cl_keras import data, evaluation
from cl_keras.cli import trained
from cl_keras.files import replacing


def define_flags(flags):
    """Declares the flags of the command."""
    own = {"flag_values": flags}
    trained.define_flags(flags)
    absl_flags.DEFINE_string("data", None, "Required. The images, as for pretrain.", **own)
    absl_flags.DEFINE_string("out", None, "Required. A new file, .npz or .parquet.", **own)
    absl_flags.DEFINE_integer("batch_size", 256, "Images at a time.", lower_bound=1, **own)
    absl_flags.DEFINE_float(
        "max_bad_share", 0.05, "Share of unreadable files above which to stop.", **own
    )
    for name in ("data", "out"):
        absl_flags.mark_flag_as_required(name, flag_values=flags)


def main(flags):
    """Encodes the images and writes the file."""
    path = pathlib.Path(flags.out)
    _check_out(path)
    encoder = trained.load_encoder(flags)
    options = trained.image_options(encoder)
    source = data.load(flags.data, max_bad_share=flags.max_bad_share, **options)
    found = evaluation.features(encoder, source.batches(flags.batch_size, shuffle=False))
    columns = {"embedding": found.vectors, "index": found.index}
    if source.names is not None:
        columns["name"] = np.asarray(source.names, dtype=str)[found.index]
    if found.labels is not None:
        columns["label"] = found.labels
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        _write(temporary, columns)
    print(f"{len(found)} vectors of {found.vectors.shape[1]} numbers are in {path}.")
    if source.skipped:
        print(f"{len(source.skipped)} files could not be read and are left out:")
        for name, reason in source.skipped[:10]:
            print(f"  {name}: {reason}")


def _check_out(path):
    if path.suffix not in (".npz", ".parquet"):
        raise ValueError(f"--out must end in .npz or .parquet; received {path}.")
    if path.exists():
        raise FileExistsError(f"{path} exists and is left as it is. Choose another name.")


def _write(path, columns):
    if path.suffix == ".npz":
        np.savez(path, **columns)
        return
    vectors = columns["embedding"]
    flat = pyarrow.array(vectors.reshape(-1))
    table = {name: pyarrow.array(column) for name, column in columns.items() if name != "embedding"}
    table["embedding"] = pyarrow.FixedSizeListArray.from_arrays(flat, vectors.shape[1])
    pyarrow.parquet.write_table(pyarrow.table(table), path)
