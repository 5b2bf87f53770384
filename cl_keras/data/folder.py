"""Images from a folder."""

from __future__ import annotations

import contextlib
import functools
import io
import math
import os
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from cl_keras import aligned, bounds
from cl_keras.data import labels as labeling
from cl_keras.data.checking import check_files, common_size
from cl_keras.data.cuts import cut
from cl_keras.data.identity import Identity, Image
from cl_keras.data.image_files import (
    BadImage,
    explain,
    name_unserved,
    size_and_end,
    unserved,
)
from cl_keras.data.kept_images import KeptImages
from cl_keras.data.listing import checked_folder, find_images, no_images
from cl_keras.data.pixels import decode
from cl_keras.data.plain_png import PlainPng, PlainPngs, suits
from cl_keras.data.printable import printable
from cl_keras.data.reading import read_image_file
from cl_keras.data.source import Source

THREADS = min(32, bounds.cores())  # for decoding
CHUNK = 64  # images per task of a thread
MIN_FILES = 3_000  # for fewer, loading compiled loops takes longer than they save
SAMPLED = 32  # files whose sizes are checked


class FolderSource(Source):
    """The JPEG, PNG, GIF, BMP, WebP and TIFF files below a folder, in the order of their names.

    The folder may be flat or nested. If at least two folders of the first level hold most of the
    images, these are the classes; see `labels.from_class_folders`.

    **Files are read when needed**, and the images made from them are kept, if all of them together
    take at most 1 GiB and an eighth of the machine's memory: each file is then decoded once, and
    later epochs and evaluations copy from memory. (Crops are cut from the file every time.) A file
    that changes after it was read is seen in its new form by the next source that is loaded; when
    a file turns out to be bad, its image is no longer used.

    **Every listed file has an index**, even if it cannot be read. Then the next readable file
    replaces it (after the last file comes the first), and the element carries the index and label
    of the image that it actually holds. So an index depends only on the file names, and reading
    never depends on what was read before.

    TIFF files are read, and a warning says that a served encoder will refuse them.

    A failure of the system (too many open files, a disk that does not respond) does not count
    against the file: the read is retried, and raises an `OSError` after five attempts.

    Args:
        path: path of the folder; a leading `~` is expanded.
        image_size: side in pixels; default: None, in which case all files must have the same size.
        channels: 1 or 3; default: None, 3.
        labels: "auto", None, integers, one per image file in sorted order, or the path of a CSV
            table; default: "auto", from class folders.
        class_names: names of labels 0, 1, …; default: None, the classes in sorted order.
        max_bad_share: 0 … 1, the maximum share of unreadable files; default: 0.05.
        progress: show a progress bar while checking; default: True.

    Raises:
        FileNotFoundError, NotADirectoryError: there is no such folder.
        OSError: the folder or a file could not be read, after several attempts.
        ValueError: no images, too many unreadable ones, mixed sizes without an `image_size`, or
            another number of labels.
    """

    rows_per_read = CHUNK
    names: Sequence[str]

    def __init__(
        self,
        path: str | os.PathLike,
        *,
        image_size: int | None = None,
        channels: int | None = None,
        labels: str | os.PathLike | Sequence[int] | None = "auto",
        class_names: Sequence[str] | None = None,
        max_bad_share: float = 0.05,
        progress: bool = True,
    ):
        self._root = checked_folder(path)
        self._spec = f"folder:{printable(os.fspath(path))}"
        listing = find_images(self._root)
        self._paths, self._beside = listing.paths, listing.skipped
        if not self._paths:
            raise ValueError(no_images(self._root, listing))
        names = [printable(path) for path in self._paths]
        if tiffs := unserved(names):
            warnings.warn(name_unserved(tiffs, len(names)), stacklevel=3)
        numbers, classes = _labels(self._root, names, labels)
        if class_names is not None and classes is not None:
            numbers, classes = _in_numbering_of(self._spec, class_names, numbers, classes)
        checked = check_files(self._root, self._paths, sizes=image_size is None, progress=progress)
        self._contents = [file.content for file in checked]
        self._problems = {i: file.problem for i, file in enumerate(checked) if file.problem}
        self._max_bad_share = max_bad_share
        self._image_size, self._channels = image_size, channels or 3
        self.names, self.num_images = names, len(names)
        if self._too_many_bad():
            raise ValueError(self._bad_share_message())
        size = (image_size, image_size) if image_size else common_size(self._spec, names, checked)
        super().__init__(
            self._spec,
            len(names),
            (*size, self._channels),
            labels=numbers,
            class_names=class_names if classes is None else classes,
            names=names,
        )
        self._kept = KeptImages((len(names), *self.image_shape))
        many = len(names) >= MIN_FILES and suits(self.image_shape)
        self._plain_pngs = PlainPngs(self.image_shape) if many else None

    @property
    def skipped(self) -> list[tuple[str, str]]:
        """(name, reason), sorted by name: files that could not be read so far, and pictures and
        folders that are left out."""
        bad = [(self.names[index], reason) for index, reason in list(self._problems.items())]
        return sorted(bad + self._beside)

    def identity(self) -> Identity:
        """Name and content of each file (its size, and a hash of its beginning and end); broken
        files are marked."""
        bad = set(self._problems)
        rows = enumerate(zip(self.names, self._contents, strict=True))
        images = (Image(name, content, i not in bad) for i, (name, content) in rows)
        return Identity({"kind": "folder", "num_images": self.num_images}, tuple(images))

    def glances(self, indices, side):
        """See `Source.glances`; a file that cannot be read is replaced."""

        def look(index):
            data = self.file_bytes(index)
            with _decoding():
                size, _ = size_and_end(data)
                return size, decode(io.BytesIO(data), image_size=side, channels=3)

        for index in indices:
            yield self.first_usable(index, look)[1]

    def file_bytes(self, index: int) -> bytes:
        """The content of one file.

        Raises:
            BadImage: it cannot be used; the message is the reason.
            OSError: the system failed repeatedly.
        """
        return read_image_file(os.path.join(self._root, self._paths[index]))

    @functools.cached_property
    def cuts(self) -> bool:
        """Whether a sample of the files has another size than the images made from them."""
        if self._image_size is None:
            return False
        spread = np.unique(np.linspace(0, self.num_images - 1, SAMPLED).astype(int)).tolist()
        sizes = {
            self.first_usable(i, lambda j: size_and_end(self.file_bytes(j))[0])[1] for i in spread
        }
        return sizes != {(self._image_size, self._image_size)}

    def _read(self, indices):
        self._stop_if_too_many_bad()
        if (kept := self._kept.take(indices)) is not None:
            return kept, indices
        images, used = np.empty((len(indices), *self.image_shape), np.uint8), indices.copy()

        def some(rows):
            plain = []
            for row in rows:
                used[row], found = self.first_usable(int(indices[row]), self._decode_or_defer)
                if isinstance(found, PlainPng):
                    plain.append((row, found))
                else:
                    images[row] = found
            for row in self._decode_plain(plain, images, used):
                used[row], images[row] = self.first_usable(int(used[row]), self._decode)

        _in_chunks(some, len(indices))
        return images, used

    def _decode_plain(self, plain, images, used):
        """Decodes files into their rows of `images`; returns the rows of those that are damaged.

        Args:
            plain: (row, `PlainPng`) of each file.
            images: uint8 `[n, h, w, c]`.
            used: int64 `[n]`, indices of the files.
        """
        if not plain:
            return []
        rows, files = np.array([row for row, _ in plain]), [file for _, file in plain]
        decoded, intact = self._plain_pngs.decode(files)
        images[rows] = decoded
        self._kept.add(used[rows[intact]], decoded[intact])
        return rows[~intact]

    def _read_cuts(self, indices, sizes, draw):
        self._stop_if_too_many_bad()
        shapes = [(len(indices), size, size, self._channels) for size in sizes]
        crops, used = [aligned.empty(shape, np.uint8) for shape in shapes], indices.copy()

        def read(index, row):
            data, out = self.file_bytes(index), [crop[row] for crop in crops]
            with _decoding():
                cut(data, index, sizes, draw, channels=self._channels, out=out)

        def some(rows):
            for row in rows:
                read_row = functools.partial(read, row=row)
                used[row], _ = self.first_usable(int(indices[row]), read_row)

        _in_chunks(some, len(indices))
        return crops, used

    def first_usable(self, index, read):
        """(index, result of `read(index)`) for the first image from `index` on that can be read.

        Args:
            index: index of the first image to try.
            read: function of an index that raises `BadImage` if the image cannot be used.

        Raises:
            RuntimeError: too many images cannot be read.
            OSError: the system failed repeatedly.
        """
        for step in range(self.num_images):
            candidate = (index + step) % self.num_images
            if candidate not in self._problems:
                try:
                    return candidate, read(candidate)
                except BadImage as reason:
                    self._note(candidate, str(reason))
        raise RuntimeError(self._bad_share_message())

    def _decode_or_defer(self, index):
        """The image, or the `PlainPng` of a file that can be decoded together with others."""
        if self._plain_pngs is None or self._kept.get(index) is not None:
            return self._decode(index)
        data = self.file_bytes(index)
        return self._plain_pngs.recognize(data) or self._decoded(index, data)

    def _decode(self, index):
        if (kept := self._kept.get(index)) is not None:
            return kept
        return self._decoded(index, self.file_bytes(index))

    def _decoded(self, index, data):
        with _decoding():
            image = decode(io.BytesIO(data), image_size=self._image_size, channels=self._channels)
        if image.shape != self.image_shape:
            raise BadImage(f"is {image.shape[1]} × {image.shape[0]} pixels, unlike the others")
        self._kept.add(index, image)
        return image

    def _note(self, index, reason):
        self._problems.setdefault(index, reason)  # atomic, as is list(self._problems.items())
        self._kept.remove(index)
        self._stop_if_too_many_bad()

    def _stop_if_too_many_bad(self):
        if self._too_many_bad():
            raise RuntimeError(self._bad_share_message())

    def _too_many_bad(self):
        bad = len(self._problems)
        return bad == self.num_images or bad > self._max_bad_share * self.num_images

    def _bad_share_message(self):
        problems = sorted(list(self._problems.items()))
        bad, files = len(problems), self.num_images
        first = "; ".join(f"{self.names[index]} ({reason})" for index, reason in problems[:3])
        advice = f"load({self._spec!r}, max_bad_share={math.ceil(100 * bad / files) / 100})"
        return (
            f"{bad} of {files} image files in {printable(str(self._root))} ({bad / files:.1%}) "
            f"cannot be read; max_bad_share allows {self._max_bad_share:.1%}. The first: {first}. "
            + (
                "None is left."
                if bad == files
                else f"Repair or remove them, or allow it: {advice}."
            )
        )


def _in_chunks(work, count):
    """Calls `work` with ranges of at most `CHUNK` rows, in threads if there are several."""
    chunks = [range(i, min(i + CHUNK, count)) for i in range(0, count, CHUNK)]
    if len(chunks) == 1:  # as in a pipeline, which has its own threads
        work(chunks[0])
    else:  # a pool that outlives the call would hang in a forked process, and at exit
        with ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(work, chunks))


@contextlib.contextmanager
def _decoding():
    """A context manager that turns whatever Pillow raises on damaged data into `BadImage`."""
    try:
        yield
    except (MemoryError, BadImage):
        raise
    except Exception as error:  # Pillow raises many kinds
        raise BadImage(explain(error)) from error


def _labels(root, names, labels):
    """(int64 array or None, class names or None) for all files."""
    if labels is None:
        return None, None
    if isinstance(labels, str) and labels == "auto":
        return labeling.from_class_folders(root, names)
    if isinstance(labels, (str, os.PathLike)):
        return labeling.from_table(labels, names)
    return labeling.as_labels(labels, len(names), "image files"), None


def _in_numbering_of(spec, wanted, labels, classes):
    unknown = [name for name in classes if name not in set(wanted)]
    if unknown:
        some = ", ".join(repr(name) for name in unknown[:5])
        raise ValueError(
            f"{spec} has classes that class_names lacks: {some}. Rename or remove them, or leave "
            "class_names out."
        )
    return labeling.renumber(labels, classes, wanted)
