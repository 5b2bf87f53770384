"""Pairs of images from two folders, matched by file name."""

from __future__ import annotations

import os
import pathlib
from typing import Any

import numpy as np
import tensorflow as tf

from cl_keras.data.exiting import READS
from cl_keras.data.folder import FolderSource
from cl_keras.data.identity import Identity
from cl_keras.data.printable import printable
from cl_keras.data.subsets import Subset

SHOWN = 3
"""Maximum number of names in an error."""


class Pairs(Subset):
    """Images of one source, each with its partner in another, the image with the same name.

    Elements also have `"other"`, the partner, uint8 of the same shape as the image. Images without
    a partner are left out. Labels, names and indices are those of the first source.

    Args:
        first: `Source` whose images have names, such as a folder.
        second: source of the partners, with images of the same shape.
        name: name of the joint source; default: None, the names of both.

    Raises:
        ValueError: sources without names, images of different shapes, or no pairs.
    """

    def __init__(self, first: FolderSource, second: FolderSource, name: str | None = None):
        if first.image_shape != second.image_shape:
            raise ValueError(
                f"{first.name} has images of {first.image_shape}, {second.name} of "
                f"{second.image_shape}. Load both with the same image_size and channels."
            )
        rows, partners = common_names(first, second)
        super().__init__(first, rows, name or f"{first.name} and {second.name}")
        self.partners = Subset(second, partners)

    @property
    def skipped(self) -> list[tuple[str, str]]:
        """As in both sources."""
        return [*self.source.skipped, *self.partners.skipped]

    @property
    def cuts(self) -> bool:
        """False, since a partner has no crop of its own."""
        return False

    def identity(self) -> Identity:
        """The identities of both images of each pair, those of the first source first."""
        first, second = super().identity(), self.partners.identity()
        return Identity(first.facts | {"kind": "pairs"}, first.images + second.images)

    def _element(self, indices, epoch, cropper):
        element = super()._element(indices, epoch, cropper)
        # By the index actually read: a replacement comes with its own partner.
        other = tf.numpy_function(self._partners_of, [element["index"]], tf.uint8)
        other.set_shape([*indices.shape, *self.image_shape])
        return element | {"other": other}

    def _partners_of(self, indices):
        with READS.one():
            if READS.exiting:  # the element will not be used
                return np.zeros((len(indices), *self.image_shape), np.uint8)
            images, found = self.partners._read(indices)
        if (lost := indices[indices != found]).size:
            names = ", ".join(self.names[row] for row in lost[:SHOWN].tolist())
            raise ValueError(
                f"the partner of {names} in {self.partners.name} cannot be read. Replace it, or "
                "remove both."
            )
        return images


def common_names(first: FolderSource, second: FolderSource) -> tuple[list[int], list[int]]:
    """The rows of both sources whose images have the same name, ignoring extensions.

    Raises:
        ValueError: sources without names, two images with the same name, or no common names.
    """
    rows = [_by_stem(source) for source in (first, second)]
    names = sorted(rows[0].keys() & rows[1].keys())
    if not names:
        examples = " and ".join(next(iter(by_stem)) for by_stem in rows)
        raise ValueError(
            f"{first.name} and {second.name} have no file name in common; their first are "
            f"{examples}. The files of a pair must have the same name in both folders."
        )
    return [rows[0][name] for name in names], [rows[1][name] for name in names]


def folder_pairs(path: str | os.PathLike, **options: Any) -> Pairs:
    """The pairs in a folder with two folders, one for each side, in alphabetical order.

    Args:
        path: path of the folder.
        **options: arguments of `FolderSource`, for both sides.

    Raises:
        ValueError: if it does not have two folders, or as for `Pairs`.
        OSError: if it cannot be read.
    """
    root = pathlib.Path(path).expanduser()
    folders = sorted(each for each in root.iterdir() if each.is_dir() and each.name[0] != ".")
    if len(folders) != 2:
        found = ", ".join(printable(each.name) for each in folders[:SHOWN]) or "none"
        raise ValueError(
            f"pairs:{printable(os.fspath(path))} must have two folders, one for each side of the "
            f"pairs; received {len(folders)}: {found}."
        )
    first = FolderSource(folders[0], **options)
    second = FolderSource(folders[1], **options | {"labels": None, "class_names": None})
    return Pairs(first, second, f"pairs:{printable(os.fspath(path))}")


def _by_stem(source):
    if source.names is None:
        raise ValueError(f"{source.name} has no file names, which are needed to find the pairs.")
    found: dict[str, int] = {}
    for row, name in enumerate(source.names):
        if found.setdefault(os.path.splitext(name)[0], row) != row:
            raise ValueError(
                f"{source.name} has two files that only differ in their extensions: {name!r}."
            )
    return found
