"""The identity of the images of a source, by which a run recognizes them when it resumes."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from typing import Any

import numpy as np

SAMPLED = 4096  # maximum number of bytes of an image that are hashed


@dataclasses.dataclass(frozen=True)
class Image:
    """The identity of one image.

    Attributes:
        name: name of the file, or None if images have no names.
        content: for a file, its size and a hash of its ends; for an array, a hash of the pixels.
        readable: whether it could be read; one that cannot is replaced by another; default: True.
    """

    name: str | None
    content: str
    readable: bool = True

    def __str__(self):
        return self.name if self.name is not None else f"image {self.content}"


@dataclasses.dataclass(frozen=True)
class Identity:
    """The identity of the images of a source, in the order of their indices.

    Attributes:
        facts: everything else that determines which image an index stands for, as JSON values: the
            kind of the source, its number of images, the version and split of a data set.
        images: one `Image` per index; empty if the facts say it all (TensorFlow Datasets).
    """

    facts: dict[str, Any]
    images: tuple[Image, ...] = ()

    def digest(self) -> str:
        """Hexadecimal SHA-256 of the facts, names and contents, but not of `readable`."""
        rows = [(image.name, image.content) for image in self.images]
        text = json.dumps([self.facts, rows], sort_keys=True, ensure_ascii=True)
        return hashlib.sha256(text.encode("ascii")).hexdigest()

    def to_json(self) -> str:
        """The identity as JSON, one image per line; `from_json` reads it."""
        rows = [[i.name, i.content, *([] if i.readable else [False])] for i in self.images]
        lines = ",\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
        facts = json.dumps(self.facts, sort_keys=True, ensure_ascii=False)
        return f'{{"facts": {facts},\n"images": [\n{lines}\n]}}\n'

    @classmethod
    def from_json(cls, text: str) -> Identity:
        """The identity that `to_json` wrote.

        Raises:
            ValueError: the text is not of this form.
        """
        try:
            read = json.loads(text)
            images = tuple(_image(row) for row in read["images"])
            if not isinstance(read["facts"], dict):
                raise TypeError("facts")
            return cls(read["facts"], images)
        except (KeyError, TypeError, ValueError, RecursionError) as error:
            raise ValueError(f"not the identity of a set of images: {error}") from error


@dataclasses.dataclass(frozen=True)
class Changes:
    """How the images of a source differ from those at another time.

    Attributes:
        facts: names of facts that differ.
        vanished, added, changed, moved: printable names of images. A changed image has the same
            name and different content, a moved one a different index.
        spoiled: names of images that can no longer be read. They keep their indices.
        mended: names of images that can be read again.
    """

    facts: tuple[str, ...] = ()
    vanished: tuple[str, ...] = ()
    added: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    moved: tuple[str, ...] = ()
    spoiled: tuple[str, ...] = ()
    mended: tuple[str, ...] = ()

    def __bool__(self):
        """Whether anything differs at all."""
        return any(getattr(self, field.name) for field in dataclasses.fields(self))

    @property
    def same_rows(self) -> bool:
        """Whether each index still stands for the same image."""
        return not (self.facts or self.vanished or self.added or self.changed or self.moved)

    def __str__(self):
        """One line: what changed, with the first names of each kind."""
        parts = []
        for field in dataclasses.fields(self):
            names = getattr(self, field.name)
            if names:
                some = ", ".join(names[:3]) + (", …" if len(names) > 3 else "")
                parts.append(f"{len(names)} {field.name} ({some})")
        return "; ".join(parts) or "no changes"


def compare(before: Identity, now: Identity) -> Changes:
    """How the images of a source have changed.

    Args:
        before: identity of the source at an earlier time.
        now: current identity of the source.
    """
    either = {*before.facts, *now.facts}
    facts = tuple(sorted(f for f in either if before.facts.get(f) != now.facts.get(f)))
    if before.images == now.images:
        return Changes(facts)
    if any(image.name is None for image in (*before.images, *now.images)):
        return _compare_unnamed(facts, before.images, now.images)
    old = {image.name: (index, image) for index, image in enumerate(before.images)}
    new = {image.name: (index, image) for index, image in enumerate(now.images)}
    both = [(old[name], new[name]) for name in old if name in new]
    spoiled = [a.name for (_, a), (_, b) in both if a.readable and not b.readable]
    mended = [a.name for (_, a), (_, b) in both if b.readable and not a.readable]
    exempt = {*spoiled, *mended}
    changed = [a.name for (_, a), (_, b) in both if a.content != b.content]
    vanished = [name for name in old if name not in new]
    added = [name for name in new if name not in old]
    # If images vanished or were added, all later ones moved, which adds no information.
    moved = [] if vanished or added else [a.name for (i, a), (j, _) in both if i != j]
    changed = [name for name in changed if name not in exempt]
    return Changes(facts, *map(_as_tuple, (vanished, added, changed, moved, spoiled, mended)))


def _as_tuple(names) -> tuple[str, ...]:
    return tuple(names)


def _compare_unnamed(facts, before, now):
    """By index and content, for images that have no names."""
    common = range(min(len(before), len(now)))
    old, new = {i.content for i in before}, {i.content for i in now}
    differ = [index for index in common if before[index].content != now[index].content]
    moved = [i for i in differ if before[i].content in new and now[i].content in old]
    changed = sorted(set(differ) - set(moved))
    vanished, added = range(len(now), len(before)), range(len(before), len(now))
    rows = (vanished, added, changed, moved)
    return Changes(facts, *(tuple(f"image {index}" for index in part) for part in rows))


def hash_image(pixels: np.ndarray) -> str:
    """A hash of an image, from its shape and at most 4,096 evenly spread bytes.

    Args:
        pixels: uint8 `[h, w, c]`.
    """
    flat = pixels.reshape(-1)
    some = flat if flat.size <= SAMPLED else flat[:: -(-flat.size // SAMPLED)]
    start = repr(pixels.shape).encode("ascii")
    return hashlib.blake2b(start + some.tobytes(), digest_size=8).hexdigest()


def _image(row) -> Image:
    name, content, *readable = row
    if not isinstance(name, (str, type(None))) or not isinstance(content, str):
        raise TypeError(f"the row {str(row)[:80]}")
    return Image(name, content, *readable)
