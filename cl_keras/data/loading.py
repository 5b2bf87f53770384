"""Loads images from any kind of source with one call."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from cl_keras.bounds import check_image_size
from cl_keras.data.arrays import ArraySource
from cl_keras.data.fashion_mnist_mini import fashion_mnist_mini
from cl_keras.data.folder import FolderSource
from cl_keras.data.pairs import folder_pairs
from cl_keras.data.printable import printable
from cl_keras.data.source import Source
from cl_keras.data.tfds_source import TFDSSource
from cl_keras.spelling import closest

FORMS = """\
  "fashion_mnist_mini", "fashion_mnist_mini/test"      the bundled set
  "folder:PATH", or a pathlib.Path                     a folder of image files
  "pairs:PATH"                                         two folders in one, with files of one name
  "tfds:NAME/SPLIT"                                    TensorFlow Datasets
  a uint8 array [n, h, w] or [n, h, w, c]              images in memory"""


def load(
    spec: str | os.PathLike | np.ndarray | Source,
    *,
    image_size: int | None = None,
    channels: int | None = None,
    labels: str | os.PathLike | Sequence[int] | np.ndarray | bool | None = "auto",
    class_names: Sequence[str] | None = None,
    max_bad_share: float = 0.05,
    data_dir: str | os.PathLike | None = None,
    progress: bool = True,
) -> Source:
    """Loads images from any kind of source.

    Args:
        spec: one of
            - "fashion_mnist_mini", the bundled set; "…/train" (the default) or "…/test";
            - "folder:PATH" or a `pathlib.Path`: JPEG, PNG, GIF, BMP, WebP and TIFF files, flat or
              nested, with or without class folders;
            - "pairs:PATH": a folder of two folders, one for each side of the pairs; files with the
              same name belong together. The images of the second are the elements' `"other"`;
              labels are those of the first;
            - "tfds:NAME/SPLIT", TensorFlow Datasets. The part after the **last** slash is the
              split, which may be sliced ("tfds:cifar10/train[:10%]"); without a slash it is
              "train". A configuration needs an explicit split: "tfds:name/config:1.0.0/train";
            - a uint8 array `[n, h, w]` or `[n, h, w, c]`;
            - a `Source`, which is returned as it is.
        image_size: side in pixels, at most 4,096. The largest centered square of each image is
            resized to it (bilinear, antialiased); default: None, as stored, in which case all
            images must have the same size.
        channels: 1 (gray) or 3 (color); default: None, as in the source; 3 for folders.
        labels: "auto", those of the source; None or False for none; for arrays and folders, a
            sequence of integers, one per image (for a folder, per image file in the sorted order
            of the paths); for folders, the path of a CSV table whose first line is `file,label`.
            -1 means unlabeled; default: "auto".
        class_names: for folders and arrays, the names of labels 0, 1, …; to number a folder of test
            images like its training images, give `class_names=train.class_names`. Sibling folders
            "train", "test" and the like are already numbered together; default: None, the class
            folders in sorted order.
        max_bad_share: 0 … 1. A file of a folder that cannot be read is replaced by the next one
            and listed in `Source.skipped`; more than this share is an error; default: 0.05.
        data_dir: where TensorFlow Datasets keeps its data; default: None, its own default.
        progress: show progress bars for long work; default: True.

    Raises:
        TypeError, ValueError: an argument is not as described, or the images cannot be used.
        FileNotFoundError, NotADirectoryError: there is no such folder.
        OSError: the folder or a file could not be read, after several attempts.
    """
    image_size = None if image_size is None else check_image_size(image_size)
    _check_options(channels, labels, max_bad_share)
    labels = None if labels is False else labels
    options: dict[str, Any] = {"image_size": image_size, "channels": channels, "labels": labels}
    if isinstance(spec, Source):
        return _as_it_is(spec, options | {"class_names": class_names})
    if isinstance(spec, np.ndarray):
        options |= {"labels": None if _auto(labels) else labels, "class_names": class_names}
        return ArraySource(spec, **options)
    folder: str | os.PathLike | None
    if isinstance(spec, str) and spec.startswith("folder:") and spec != "folder:":
        folder = spec.removeprefix("folder:")
    else:
        folder = spec if isinstance(spec, os.PathLike) else None
    if folder is not None:
        options |= {"class_names": class_names, "max_bad_share": max_bad_share}
        return FolderSource(folder, **options, progress=progress)
    if isinstance(spec, str) and spec.startswith("pairs:") and spec != "pairs:":
        options |= {"class_names": class_names, "max_bad_share": max_bad_share}
        return folder_pairs(spec.removeprefix("pairs:"), **options, progress=progress)
    if not isinstance(spec, str):
        raise TypeError(f"cannot load images from a {type(spec).__name__}; expected\n{FORMS}")
    if class_names is not None or (labels is not None and not _auto(labels)):
        raise ValueError(f"labels and class_names are for arrays and folders, not for {spec!r}.")
    kind, _, rest = spec.partition(":")
    if kind == "tfds" and rest:
        name, slash, split = rest.rpartition("/")
        name, split = (name, split) if slash else (rest, "train")
        return TFDSSource(name, split, **options, data_dir=data_dir, progress=progress)
    name, _, split = spec.partition("/")
    if name == "fashion_mnist_mini":
        return fashion_mnist_mini(split or "train", **options)
    raise ValueError(f"unknown images {printable(spec)!r}.{_near(spec)} Expected\n{FORMS}")


def _auto(labels):
    return isinstance(labels, str) and labels == "auto"


def _check_options(channels, labels, max_bad_share):
    if channels not in (None, 1, 3) or isinstance(channels, bool):
        raise ValueError(f"channels must be 1 (gray), 3 (color) or None; received {channels!r}.")
    table = isinstance(labels, str) and labels.lower().endswith(".csv")
    if (isinstance(labels, str) and labels != "auto" and not table) or labels is True:
        raise ValueError(
            "labels must be 'auto', None, a sequence of integers, or the path of a .csv file; "
            f"received {labels!r}."
        )
    if isinstance(max_bad_share, bool) or not 0 <= max_bad_share <= 1:
        raise ValueError(f"max_bad_share must be from 0 to 1; received {max_bad_share!r}.")


def _as_it_is(source: Source, options: dict[str, Any]) -> Source:
    given = [name for name, value in options.items() if value is not None and not _auto(value)]
    given += ["labels"] if options["labels"] is None and source.has_labels else []
    if given:
        raise ValueError(f"{source!r} is already loaded: give {', '.join(given)} when you load it.")
    return source


def _near(spec: str) -> str:
    """A sentence that suggests what may have been meant, or ""."""
    if os.path.isdir(os.path.expanduser(spec)):
        return f" Did you mean 'folder:{printable(spec)}'?"
    kind, colon, rest = spec.partition(":")
    known = ("folder", "pairs", "tfds") if colon else ("fashion_mnist_mini",)
    word = kind if colon else spec.partition("/")[0]
    near = closest(word.lower(), known)
    if near and near[0] != kind:
        return f" Did you mean {f'{near[0]}:{rest}' if colon else near[0]!r}?"
    if not colon and word.isidentifier():
        return f" A data set of TensorFlow Datasets is written 'tfds:{spec}'."
    return ""
