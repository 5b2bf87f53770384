"""Subsets of a source, and several sources joined into one."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from cl_keras.data.identity import Identity
from cl_keras.data.labels import renumber
from cl_keras.data.source import Source


class Subset(Source):
    """Some images of a source, renumbered from 0 in the order given.

    Args:
        source: a folder or an array; not TensorFlow Datasets.
        indices: indices of the images in the source, without repetition.
        name: name of the subset; default: None, that of the source with the number of images.

    Raises:
        ValueError: no index, a repeated or invalid one, or a source that can only be read in its
            stored order.
    """

    def __init__(
        self, source: Source, indices: Sequence[int] | np.ndarray, name: str | None = None
    ):
        indices = np.asarray(indices, np.int64).reshape(-1)
        _check_random_access(source)
        if not indices.size or len(np.unique(indices)) != len(indices):
            raise ValueError(
                f"a subset needs at least one index, and no repetitions; received {len(indices)} "
                f"indices, {len(np.unique(indices))} of them different."
            )
        if indices.min() < 0 or indices.max() >= len(source):
            raise ValueError(
                f"{source.name} has images 0 to {len(source) - 1}; received indices from "
                f"{indices.min()} to {indices.max()}."
            )
        self.source, self.indices = source, indices
        self.rows_per_read = source.rows_per_read
        self._own_index = np.full(len(source), -1, np.int64)
        self._own_index[indices] = np.arange(len(indices))
        labels = source.labels if source.has_labels else None
        super().__init__(
            name or f"{source.name} ({len(indices)} of {len(source)})",
            len(indices),
            source.image_shape,
            labels=None if labels is None else labels[indices],
            class_names=source.class_names,
            names=None if source.names is None else [source.names[i] for i in indices.tolist()],
        )

    @property
    def skipped(self) -> list[tuple[str, str]]:
        """As in the source."""
        return self.source.skipped

    def identity(self) -> Identity:
        """The identity of these images, as in the source."""
        whole = self.source.identity()
        images = tuple(whole.images[index] for index in self.indices)
        return Identity(whole.facts | {"num_images": len(images)}, images)

    def glances(
        self, indices: Sequence[int], side: int
    ) -> Iterator[tuple[tuple[int, int], np.ndarray]]:
        """See `Source.glances`."""
        return self.source.glances(self.indices[indices].tolist(), side)

    def _read(self, indices):
        images, found = self.source._read(self.indices[indices])
        own = self._own_index[found]
        # The replacement of a broken file may lie outside the subset; then take one of its own.
        for row in np.flatnonzero(own < 0):
            images[row], own[row] = self._stand_in(int(indices[row]))
        return images, own

    @property
    def cuts(self) -> bool:
        """As in the source."""
        return self.source.cuts

    def _read_cuts(self, indices, sizes, draw):
        def by_own_index(height, width, index):
            return draw(height, width, max(0, int(self._own_index[index])))

        crops, found = self.source._read_cuts(self.indices[indices], sizes, by_own_index)
        own = self._own_index[found]
        for row in np.flatnonzero(own < 0):
            own[row] = self._stand_in(int(indices[row]))[1]
            index = self.indices[own[row : row + 1]]
            for all_rows, crop in zip(
                crops, self.source._read_cuts(index, sizes, by_own_index)[0], strict=True
            ):
                all_rows[row] = crop[0]
        return crops, own

    def _stand_in(self, index):
        for step in range(1, len(self)):
            candidate = (index + step) % len(self)
            image, found = self.source._read(self.indices[[candidate]])
            if found[0] == self.indices[candidate]:
                return image[0], candidate
        raise RuntimeError(f"no image of {self.name} can be read.")


class Joined(Source):
    """Several sources one after the other, numbered consecutively.

    Args:
        sources: sources with images of the same shape. Labels are kept if all sources have them; if
            all have class names, they are numbered together by name.
        name: name of the joined source; default: None, the names of the sources.

    Raises:
        ValueError: fewer than two sources, images of different shapes, or a source that can only be
            read in its stored order.
    """

    def __init__(self, sources: Sequence[Source], name: str | None = None):
        sources = list(sources)
        if len(sources) < 2:
            raise ValueError(f"join takes at least two sources; received {len(sources)}.")
        for source in sources:
            _check_random_access(source)
            if source.image_shape != sources[0].image_shape:
                raise ValueError(
                    f"{sources[0].name} has images of {sources[0].image_shape}, {source.name} of "
                    f"{source.image_shape}. Load both with the same image_size and channels."
                )
        self.sources = sources
        self._starts = np.cumsum([0] + [len(source) for source in sources])
        self.rows_per_read = min(
            (s.rows_per_read for s in sources if s.rows_per_read), default=None
        )
        labels, class_names = _joined_labels(sources)
        names = None
        if all(source.names is not None for source in sources):
            names = [f"{source.name}/{n}" for source in sources for n in source.names or ()]
        super().__init__(
            name or " + ".join(source.name for source in sources),
            int(self._starts[-1]),
            sources[0].image_shape,
            labels=labels,
            class_names=class_names,
            names=names,
        )

    @property
    def skipped(self) -> list[tuple[str, str]]:
        """Those of all sources, prefixed with the names of the sources."""
        return [(f"{s.name}/{name}", reason) for s in self.sources for name, reason in s.skipped]

    def identity(self) -> Identity:
        """The identities of all sources, one after the other."""
        parts = [source.identity() for source in self.sources]
        images = [
            dataclasses.replace(image, name=None if image.name is None else f"{i}/{image.name}")
            for i, part in enumerate(parts)
            for image in part.images
        ]
        facts = {"kind": "joined", "parts": [part.facts for part in parts]}
        return Identity(facts, tuple(images))

    def glances(
        self, indices: Sequence[int], side: int
    ) -> Iterator[tuple[tuple[int, int], np.ndarray]]:
        """See `Source.glances`."""
        for index in indices:
            part = int(np.searchsorted(self._starts, index, side="right") - 1)
            yield from self.sources[part].glances([index - int(self._starts[part])], side)

    @property
    def cuts(self) -> bool:
        """Whether this holds for all sources."""
        return all(source.cuts for source in self.sources)

    def _read_cuts(self, indices, sizes, draw):
        *_, channels = self.image_shape
        crops = [np.empty((len(indices), size, size, channels), np.uint8) for size in sizes]
        found = np.empty(len(indices), np.int64)
        for part, rows, first in self._parts(indices):

            def numbered_on(height, width, index, first=first):
                return draw(height, width, index + first)

            some, own = part._read_cuts(indices[rows] - first, sizes, numbered_on)
            for all_rows, crop in zip(crops, some, strict=True):
                all_rows[rows] = crop
            found[rows] = own + first
        return crops, found

    def _parts(self, indices):
        """(source, its rows, index of its first image) for each source with any rows."""
        owner = np.searchsorted(self._starts, indices, side="right") - 1
        for part in np.unique(owner):
            yield self.sources[part], np.flatnonzero(owner == part), int(self._starts[part])

    def _read(self, indices):
        images = np.empty((len(indices), *self.image_shape), np.uint8)
        found = np.empty(len(indices), np.int64)
        for part, rows, first in self._parts(indices):
            images[rows], own = part._read(indices[rows] - first)
            found[rows] = own + first
        return images, found


def join(sources: Sequence[Source]) -> Joined:
    """Joins several sources into one; see `Joined`."""
    return Joined(sources)


def split(
    source: Source,
    share: float,
    *,
    seed: int = 0,
    groups: Sequence[Any] | np.ndarray | None = None,
) -> tuple[Subset, Subset]:
    """Splits a source in two, by a hash of each image's name or, in an array, of its pixels.

    A file stays on its side whatever else is added, removed or renamed, and equal images of an
    array are on the same side. The shares are met on average, also within each class.

    Args:
        source: a folder or an array; TFDS has its own splits ("tfds:name/train[:75%]").
        share: share of the second part, above 0 and below 1.
        seed: another seed gives another split; default: 0.
        groups: one value per image; images of the same group, such as near-duplicates or
            photographs of the same patient, stay on the same side; default: None, each image is a
            group.

    Returns:
        (the larger part, the held-out part).

    Raises:
        ValueError: a share that leaves one side empty, another number of groups, or a source that
            cannot be split.
    """
    _check_random_access(source)
    if not 0 < share < 1:
        raise ValueError(f"share must be above 0 and below 1; received {share!r}.")
    keys = [image.name or image.content for image in source.identity().images]
    if groups is not None:
        keys = _keys_of_groups(keys, groups)
    draws = np.array([_uniform(key, seed) for key in keys])
    held_out = draws < share
    if not held_out.any() or held_out.all():
        raise ValueError(
            f"share={share} of the {len(source)} images of {source.name} leaves one part empty; "
            "give another share or seed."
        )
    parts = (np.flatnonzero(~held_out), np.flatnonzero(held_out))
    return Subset(source, parts[0]), Subset(source, parts[1])


def _keys_of_groups(keys, groups) -> list[str]:
    """The smallest key in each image's group, so that the name of the group does not matter."""
    groups = np.asarray(groups)
    if groups.shape != (len(keys),):
        raise ValueError(
            f"groups must have shape ({len(keys)},), one value per image; received {groups.shape}."
        )
    smallest: dict[Any, str] = {}
    for key, group in zip(keys, groups.tolist(), strict=True):
        smallest[group] = min(key, smallest.get(group, key))
    return [smallest[group] for group in groups.tolist()]


def _uniform(key: str, seed: int) -> float:
    """A number in 0 … 1 that depends only on its arguments, not on the machine."""
    text = f"{seed}\0{key}".encode("utf-8", "surrogateescape")
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big") / 2**64


def _check_random_access(source: Source) -> None:
    if source.can_run_in_service:
        raise ValueError(
            f"{source.name} can only be read in its stored order, so it cannot be split or "
            "joined here. Slice or add its splits: 'tfds:name/train[:75%]', 'tfds:name/train+test'."
        )


def _joined_labels(sources) -> tuple[np.ndarray | None, list[str] | None]:
    if not all(source.has_labels for source in sources):
        return None, None
    named = [source.class_names is not None for source in sources]
    if not any(named):
        return np.concatenate([source.labels for source in sources]), None
    if not all(named):
        return None, None  # the numbers of one mean nothing in the other
    labels, names = [], list(sources[0].class_names)
    for source in sources:
        own, names = renumber(source.labels, source.class_names, names)
        labels.append(own)
    return np.concatenate(labels), names
