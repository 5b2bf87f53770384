"""One call for images from anywhere."""

import difflib
import os

import numpy as np

from cl_keras.data.arrays import ArraySource
from cl_keras.data.fashion_mnist_mini import fashion_mnist_mini
from cl_keras.data.folder import FolderSource
from cl_keras.data.order import as_int
from cl_keras.data.source import Source
from cl_keras.data.tfds_source import TFDSSource

FORMS = """\
  "fashion_mnist_mini", "fashion_mnist_mini/test"      the bundled set
  "folder:PATH", or a pathlib.Path                     a folder of image files
  "tfds:NAME/SPLIT"                                    TensorFlow Datasets
  a uint8 array [N, H, W] or [N, H, W, C]              images in memory"""


def load(
    spec,
    *,
    image_size=None,
    channels=None,
    labels="auto",
    max_bad_share=0.05,
    data_dir=None,
    progress=True,
):
    """Images from anywhere, as a `Source`.

    Args:
        spec: one of
            - "fashion_mnist_mini", the bundled set; "…/train" (the default) or "…/test";
            - "folder:PATH" or a `pathlib.Path`: JPEG, PNG, GIF, BMP and WebP files, flat or
              nested, with class folders or without;
            - "tfds:NAME/SPLIT", TensorFlow Datasets. What stands after the **last** slash is the
              split, slicing included ("tfds:cifar10/train[:10%]"); without a slash it is "train".
              So a configuration needs its split named: "tfds:name/config:1.0.0/train";
            - a uint8 array [N, H, W] or [N, H, W, C];
            - a `Source`, which is returned as it is.
        image_size: int, side in pixels. The largest centred square of each image is resized to it
            (bilinear, antialiased). Default: None, as they are; then they must all have one size.
        channels: 1 or 3, grey or colour. Default: None, what the source has; 3 for folders.
        labels: "auto", what the source has; None or False for none; or, for arrays and folders,
            a sequence of integers, one an image (in a folder: one an image file, in the sorted
            order of the paths). Default: "auto".
        max_bad_share: float in 0 … 1. Unreadable files of a folder are skipped and listed in
            `Source.skipped`; more than this share is an error. Default: 0.05.
        data_dir: where TensorFlow Datasets keeps its data. Default: None, its own default.
        progress: bool, show progress bars for long work. Default: True.

    Returns:
        `Source`.

    Raises:
        TypeError, ValueError: an argument is not as described, or the images cannot be used.
        FileNotFoundError, NotADirectoryError: there is no such folder.
    """
    image_size = None if image_size is None else as_int(image_size, "image_size", at_least=1)
    _check_options(channels, labels, max_bad_share)
    labels = None if labels is False else labels
    how = {"image_size": image_size, "channels": channels, "labels": labels}
    if isinstance(spec, Source):
        return _as_it_is(spec, how)
    if isinstance(spec, np.ndarray):
        return ArraySource(spec, **{**how, "labels": None if _auto(labels) else labels})
    if isinstance(spec, os.PathLike):
        return FolderSource(spec, **how, max_bad_share=max_bad_share, progress=progress)
    if not isinstance(spec, str):
        raise TypeError(f"cannot load images from a {type(spec).__name__}; expected\n{FORMS}")
    kind, _, rest = spec.partition(":")
    if kind == "folder" and rest:
        return FolderSource(rest, **how, max_bad_share=max_bad_share, progress=progress)
    if labels is not None and not _auto(labels):
        raise ValueError(f"labels of one's own are for arrays and folders, not for {spec!r}.")
    if kind == "tfds" and rest:
        name, slash, split = rest.rpartition("/")
        name, split = (name, split) if slash else (rest, "train")
        return TFDSSource(name, split, **how, data_dir=data_dir, progress=progress)
    name, _, split = spec.partition("/")
    if name == "fashion_mnist_mini":
        return fashion_mnist_mini(split or "train", **how)
    raise ValueError(f"unknown images {spec!r}.{_near(spec)} Expected\n{FORMS}")


def _auto(labels):
    return isinstance(labels, str)


def _check_options(channels, labels, max_bad_share):
    if channels not in (None, 1, 3):
        raise ValueError(f"channels must be 1 (grey), 3 (colour) or None, received {channels!r}.")
    if (isinstance(labels, str) and labels != "auto") or labels is True:
        raise ValueError(
            f"labels must be 'auto', None or a sequence of integers, received {labels!r}."
        )
    if isinstance(max_bad_share, bool) or not 0 <= max_bad_share <= 1:
        raise ValueError(f"max_bad_share must be from 0 to 1, received {max_bad_share!r}.")


def _as_it_is(source, how):
    given = [name for name, value in how.items() if value is not None and not _auto(value)]
    given += ["labels"] if how["labels"] is None and source.has_labels else []
    if given:
        raise ValueError(
            f"{source!r} is loaded already: give {', '.join(given)} where it is first loaded."
        )
    return source


def _near(spec):
    """A sentence with what may have been meant, or nothing."""
    if os.path.isdir(os.path.expanduser(spec)):
        return f" Did you mean 'folder:{spec}'?"
    kind, colon, rest = spec.partition(":")
    known = ("folder", "tfds") if colon else ("fashion_mnist_mini",)
    word = kind if colon else spec.partition("/")[0]
    near = difflib.get_close_matches(word.lower(), known, n=1)
    if near and near[0] != kind:
        return f" Did you mean {f'{near[0]}:{rest}' if colon else near[0]!r}?"
    if not colon and word.isidentifier():
        return f" A data set of TensorFlow Datasets is written 'tfds:{spec}'."
    return ""
