"""Finds near-duplicates in a set of images, and leaks between two."""

import pathlib

import numpy as np

from cl_keras import data, downstream, report
from cl_keras.cli.commands import Duplicates
from cl_keras.data.printable import printable
from cl_keras.downstream.duplicates import Pair

MAX_SHOWN = 200
"""Maximum number of pairs on the page."""


def main(flags: Duplicates) -> None:
    """Prints the pairs and their number, and writes the page."""
    first, second = _load(flags.data), None
    if flags.test_data is not None:
        second = _load(flags.test_data)
    pairs = downstream.duplicates(first, second, threshold=flags.threshold)
    print(sentence(pairs, first, second))
    other = first if second is None else second
    for pair in pairs[:10]:
        names = [name_of(first, pair.first), name_of(other, pair.second)]
        print(f"  {pair.correlation:.4f}  {names[0]}  {names[1]}")
    if flags.out is not None:
        print(f"The pairs are in {write_page(flags.out, pairs, first, second)}.")


SIZE = 96
"""Side in pixels of the images on the page."""


def sentence(pairs: list[Pair], first: data.Source, second: data.Source | None = None) -> str:
    """A sentence with the number of near-duplicates."""
    if second is None:
        count = len({pair.second for pair in pairs})
        return (
            f"{count} of {len(first)} images are near-duplicates of another ({len(pairs)} pairs)."
        )
    count = len({pair.second for pair in pairs})
    return (
        f"{count} of the {len(second)} images of the second set are near-duplicates of images in "
        f"the first ({len(pairs)} pairs)."
    )


def write_page(
    path: str, pairs: list[Pair], first: data.Source, second: data.Source | None = None
) -> pathlib.Path:
    """Writes the page with the most similar pairs."""
    other, shown = first if second is None else second, pairs[:MAX_SHOWN]
    rows = [np.array([getattr(pair, side) for pair in shown], int) for side in ("first", "second")]
    found = {
        "images": [first.images(rows[0]), other.images(rows[1])],
        "names": [
            [name_of(s, row) for row in r] for s, r in zip((first, other), rows, strict=True)
        ],
        "correlations": [pair.correlation for pair in shown],
    }
    note = sentence(pairs, first, second)
    if len(pairs) > MAX_SHOWN:
        note += f" The {MAX_SHOWN} most similar pairs are shown."
    title = "Near-duplicates" if second is None else "Leaks between two sets"
    return report.write(path, title=title, notes=[note], pairs=found if shown else None)


def _load(spec):
    return data.load(spec, image_size=SIZE, labels=None)


def name_of(source: data.Source, index: int) -> str:
    """The file name of an image, or its number."""
    return printable(source.names[index]) if source.names is not None else f"image {index}"
