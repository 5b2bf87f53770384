"""Makes the bundled data set from the four original files of Fashion-MNIST.

    python tools/make_fashion_mnist_mini.py --source DIR --out FILE

DIR holds train-images-idx3-ubyte.gz, train-labels-idx1-ubyte.gz, t10k-images-idx3-ubyte.gz and
t10k-labels-idx1-ubyte.gz, from https://github.com/zalandoresearch/fashion-mnist or from Debian's
package dataset-fashion-mnist (/usr/share/datasets/fashion-mnist). FILE must not exist yet; in the
package it is cl_keras/data/bundled/fashion_mnist_mini.npz.
"""

import argparse
import gzip
import hashlib
import pathlib
import struct

import numpy as np

PER_CLASS = {"train": 1000, "test": 200}
PREFIX = {"train": "train", "test": "t10k"}


def read_idx(path):
    """Reads a gzipped IDX file of unsigned bytes.

    Args:
        path: path of the file.

    Returns:
        uint8 array, of the shape that the file declares.

    Raises:
        ValueError: it is not such a file, or its length differs from its header.
    """
    data = gzip.decompress(pathlib.Path(path).read_bytes())
    zero, kind, rank = struct.unpack_from(">HBB", data)
    if (zero, kind) != (0, 8):
        raise ValueError(
            f"{path} must be an IDX file of unsigned bytes; it starts with {data[:4]!r}."
        )
    shape = struct.unpack_from(f">{rank}I", data, 4)
    return np.frombuffer(data, np.uint8, offset=4 + 4 * rank).reshape(shape)


def first_of_each_class(images, labels, count):
    """The first `count` images of every class, in their original order.

    Args:
        images: array [N, …].
        labels: array [N].
        count: int.

    Returns:
        (images, labels): the chosen ones.
    """
    indices = [np.flatnonzero(labels == label)[:count] for label in np.unique(labels)]
    chosen = np.sort(np.concatenate(indices))
    return images[chosen], labels[chosen]


def make(source):
    """The arrays of the bundled set, by name.

    Args:
        source: folder with the four files.

    Returns:
        dict of uint8 arrays: {train,test}_{images,labels}.
    """
    made = {}
    for split, prefix in PREFIX.items():
        images = read_idx(pathlib.Path(source, f"{prefix}-images-idx3-ubyte.gz"))
        labels = read_idx(pathlib.Path(source, f"{prefix}-labels-idx1-ubyte.gz"))
        chosen = first_of_each_class(images, labels, PER_CLASS[split])
        made[f"{split}_images"], made[f"{split}_labels"] = chosen
    return made


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--source", required=True, help="folder with the four original files")
    parser.add_argument("--out", required=True, help="the .npz file to write; must not exist")
    arguments = parser.parse_args()
    made = make(arguments.source)
    with open(arguments.out, "xb") as file:
        np.savez_compressed(file, **made)
    for name, array in made.items():
        print(f"{name:13} {array.shape!s:16} sha256 {hashlib.sha256(array.tobytes()).hexdigest()}")


if __name__ == "__main__":
    main()
