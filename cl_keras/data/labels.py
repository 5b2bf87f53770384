"""Labels: integers, one per image, from arrays, class folders, and tables."""

from __future__ import annotations

import csv
import os
import warnings
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from cl_keras.data.printable import printable

UNLABELED = -1
"""The label of an image of unknown class."""

SPLITS = frozenset("train training val valid validation dev eval test testing".split())
"""Names of sibling folders that hold images of the same classes."""


def as_labels(
    labels: Sequence[int] | np.ndarray, count: int, what: str = "images", name: str = "labels"
) -> np.ndarray:
    """Labels as an int64 array `[count]`.

    Args:
        labels: integers `[count]`, or `[count, 1]` as in `keras.datasets`.
        count: the expected number of labels.
        what: what they label, for the message; default: "images".
        name: name of the argument, for the message; default: "labels".

    Raises:
        ValueError: not integers, or another number; the message says how to convert them.
    """
    array = np.asarray(labels)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1 or (array.size and array.dtype.kind not in "iu"):
        raise ValueError(
            f"{name} must be integers, one per image; received "
            f"{array.dtype} of shape {array.shape}. {_advice(array)}"
        )
    if len(array) != count:
        raise ValueError(
            f"{name} must have one entry per image: received {len(array)} labels for {count} "
            f"{what}."
        )
    if array.size and array.max() > np.iinfo(np.int64).max:
        raise ValueError(f"{name} must fit into 64 bits (signed); number them by np.unique.")
    if array.size and array.min() < UNLABELED:
        raise ValueError(
            f"{name} must be classes from 0 on, or -1 for an image without a label; received "
            f"{array.min()}. Number them: numpy.unique(labels, return_inverse=True)[1]."
        )
    check_signs(array)
    return array.astype(np.int64)


def check_class_names(class_names: Sequence[str], labels: np.ndarray) -> None:
    """Each label must have a name of its own.

    Args:
        class_names: of label 0, 1, ….
        labels: int64 `[n]`, -1 where the class is not known.

    Raises:
        ValueError: a name is there twice, or a label has none.
    """
    if len(set(class_names)) < len(class_names):
        twice = next(name for name in class_names if list(class_names).count(name) > 1)
        raise ValueError(f"class_names must differ; {twice!r} is there twice.")
    if labels.size and labels.max() >= len(class_names):
        raise ValueError(
            f"class_names has {len(class_names)} names, and there is a label {labels.max()}: "
            f"give the names of the labels 0 to {labels.max()}."
        )


def check_signs(labels: np.ndarray) -> None:
    """Refuses -1 and 1 as the labels of two classes, since -1 means unlabeled.

    Raises:
        ValueError: the labels are only these two numbers.
    """
    if len(labels) > 1 and set(np.unique(labels).tolist()) == {-1, 1}:
        raise ValueError(
            "labels are -1 and 1, but -1 means an image without a label. For two classes give "
            "(labels > 0).astype('int64')."
        )


def _advice(array) -> str:
    if array.dtype.kind in "USO" and array.ndim <= 2:
        return "From names: numpy.unique(labels, return_inverse=True)[1]."
    numeric = array.dtype.kind in "fiub"
    if array.ndim == 2 and numeric and array.size and (array != 0).sum() == len(array):
        return "One-hot labels: give labels.argmax(axis=1)."
    if array.ndim == 1 and array.dtype.kind == "b":
        return "From truth values: labels.astype('int64')."
    if array.ndim == 1 and array.dtype.kind == "f" and np.array_equal(array, array.round()):
        return "From whole numbers: labels.astype('int64')."
    return "Give one class number per image."


def renumber(
    labels: np.ndarray, class_names: Sequence[str], wanted: Sequence[str]
) -> tuple[np.ndarray, list[str]]:
    """Renumbers labels for another list of class names.

    Args:
        labels: int64 `[n]`, indices into `class_names`; -1 stays.
        class_names: the names that the labels stand for now.
        wanted: the names of the new labels 0, 1, …; missing classes are appended.

    Returns:
        (labels, class names).
    """
    names = list(wanted) + [name for name in class_names if name not in set(wanted)]
    label_of = {name: label for label, name in enumerate(names)}
    table = np.array([label_of[name] for name in class_names] + [UNLABELED], np.int64)
    return table[labels], names


def from_class_folders(
    root: str | os.PathLike, names: Sequence[str]
) -> tuple[np.ndarray | None, list[str] | None]:
    """Labels from the names of the first-level folders.

    A single folder that holds all others, as in archives, does not count as a level. If at least
    two folders hold more than half of the images, they are the classes; images outside them are
    unlabeled, and a warning names them. Folders called "train", "test" or the like are not classes;
    within one, the classes are numbered together with those of its siblings.

    Args:
        root: path of the folder.
        names: paths of the images relative to it.

    Returns:
        (labels int64 `[n]`, class names), or (None, None) if there are no classes.
    """
    root, names = _below_single_folders(root, names)
    first: list[Any] = [name.partition("/")[0] if "/" in name else None for name in names]
    classes = sorted({name for name in first if name is not None})
    stray = [name for name, folder in zip(names, first, strict=True) if folder is None]
    if len(classes) < 2:
        return None, None
    if SPLITS.issuperset(name.lower() for name in classes):
        warnings.warn(
            f"the folders {_some(classes)} are parts of a data set and not classes: no image has a "
            "label. Load each by itself, where its own folders are the classes.",
            stacklevel=4,
        )
        return None, None
    some = _some(list(map(repr, stray)))
    if stray and 2 * len(stray) >= len(names):
        warnings.warn(
            f"{len(stray)} images lie beside the folders {_some(classes)} ({some}), so the folders "
            "are not taken as classes: no image has a label. Move the images into class folders, "
            "or load with labels=None if the folders are not classes.",
            stacklevel=4,
        )
        return None, None
    if stray:
        warnings.warn(
            f"{len(stray)} images lie beside the class folders {_some(classes)} ({some}), and have "
            "no label (-1). Move them into a class folder, or load with labels=None if the folders "
            "are not classes.",
            stacklevel=4,
        )
    classes = sorted({*classes, *_classes_of_siblings(root, classes)})
    number = {name: label for label, name in enumerate(classes)}
    return np.array([number.get(name, UNLABELED) for name in first], np.int64), classes


def _below_single_folders(root, names):
    """Root and names without the leading folders that all images share."""
    leading = [name.rpartition("/")[0] for name in names]
    shared = os.path.commonpath(leading) if all(leading) else ""
    if shared in leading:  # a folder of images, which may be a class, stays
        shared = shared.rpartition("/")[0]
    if not shared:
        return root, names
    return os.path.join(root, shared), [name.removeprefix(shared + "/") for name in names]


def _some(names):
    return ", ".join(names[:3]) + (", …" if len(names) > 3 else "")


def _classes_of_siblings(root, classes) -> set[str]:
    """Class folders of the other splits of the same data set, if the folder is a split."""
    root = Path(root).absolute()
    found: set[str] = set()
    if root.name.lower() not in SPLITS:
        return found
    try:
        for sibling in root.parent.iterdir():
            if sibling.name.lower() in SPLITS and sibling != root and sibling.is_dir():
                folders = {printable(f.name) for f in sibling.iterdir() if f.is_dir()}
                folders = {name for name in folders if not name.startswith(".")}
                found |= folders if folders & set(classes) else set()
    except OSError:
        pass  # an unreadable sibling tells nothing
    return found


def from_table(path: str | os.PathLike, names: Sequence[str]) -> tuple[np.ndarray, list[str]]:
    """Labels from a table of files and classes; a file that is not in it is unlabeled (-1).

    Args:
        path: path of a CSV file in UTF-8 whose first line has `file,label`; other columns are
            ignored. Files are named by their paths relative to the folder of images, or just by
            their file names if these are unique.
        names: paths of the images.

    Returns:
        (labels int64 `[n]`, class names in sorted order, whole numbers in numerical order).

    Raises:
        OSError: the table cannot be read.
        ValueError: it lacks a column, gives a file two different labels, or names a missing file.
    """
    try:
        given = _read_table(path)
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path} is not a CSV table in UTF-8: {error}.") from None
    by_path: dict[str, int | None] = {name: index for index, name in enumerate(names)}
    by_file: dict[str, int | None] = {}
    for index, name in enumerate(names):
        file = PurePosixPath(name).name
        by_file[file] = None if file in by_file else index
    classes = sorted(set(given.values()), key=_numbers_first)
    number = {name: label for label, name in enumerate(classes)}
    labels = np.full(len(names), UNLABELED, np.int64)
    unknown: list[str] = []
    for file, label in given.items():
        row = by_path.get(file, by_file.get(file))
        if row is None:
            unknown.append(file)
        else:
            labels[row] = number[label]
    if unknown:
        raise ValueError(
            f"{path} names {len(unknown)} files that are not among the {len(names)} images, or "
            f"lie in several folders, such as {unknown[0]!r}. Name each by its path relative to "
            f"the folder, such as {names[0]!r}."
        )
    return labels, classes


def _read_table(path) -> dict[str, str]:
    with open(path, encoding="utf-8-sig", newline="") as file:
        rows = csv.DictReader(file, skipinitialspace=True)
        columns = rows.fieldnames or []
        if not {"file", "label"} <= set(columns):
            raise ValueError(
                f"{path} must begin with the line 'file,label'; it begins with "
                f"{','.join(map(str, columns))[:200]!r}."
            )
        given: dict[str, str] = {}
        for row in rows:
            if "\n" in f"{row['file']}{row['label']}":
                raise ValueError(
                    f"{path}, line {rows.line_num}: a quotation mark is not closed, so that "
                    "several lines are one."
                )
            name, label = (row["file"] or "").strip(), (row["label"] or "").strip()
            name = name.removeprefix("./").replace(os.sep, "/")
            if not name or not label:
                continue
            if given.setdefault(name, label) != label:
                raise ValueError(
                    f"{path}, line {rows.line_num}: {name!r} has the labels {given[name]!r} and "
                    f"{label!r}."
                )
    if not given:
        raise ValueError(f"{path} holds no labels below the line 'file,label'.")
    return given


def _numbers_first(name: str):
    return (0, int(name), name) if name.lstrip("-").isdigit() else (1, 0, name)
