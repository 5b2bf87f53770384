"""Images from a folder."""

import collections
import math
import os
import pathlib
import threading
from concurrent import futures

import numpy as np

from cl_keras.data.image_files import EXTENSIONS, check_images, explain, find_images
from cl_keras.data.pixels import decode
from cl_keras.data.source import Source, as_labels

THREADS = min(32, os.cpu_count() or 1)  # that decode


class FolderSource(Source):
    """The JPEG, PNG, GIF, BMP and WebP files below a folder, in the order of their names.

    The folder may be flat or nested. Where every image lies in one of at least two folders of the
    first level, those are the classes, in sorted order. Files are read when they are needed.

    A file that is seen to be broken at the start gets no index. One that fails only later, when it
    is decoded, keeps its index and is replaced by the next readable image, whose own index and
    label the element then carries; so what is read never depends on what was read before.

    Args:
        path: path of the folder; `~` is understood.
        image_size: int. Default: None; then all files must have one size.
        channels: 1 or 3. Default: None, 3.
        labels: "auto", None, or integers, one for each image file in sorted order, those that are
            skipped included. Default: "auto", from class folders.
        max_bad_share: float in 0 … 1, the greatest permitted share of unreadable files.
            Default: 0.05.
        progress: bool, show a progress bar while checking. Default: True.

    Raises:
        FileNotFoundError, NotADirectoryError: there is no such folder.
        ValueError: no image in it, too many unreadable, mixed sizes without an `image_size`, or
            another count of labels.
    """

    def __init__(
        self,
        path,
        *,
        image_size=None,
        channels=None,
        labels="auto",
        max_bad_share=0.05,
        progress=True,
    ):
        self._root = _checked_folder(path)
        self._spec = f"folder:{os.fspath(path)}"
        found, others = find_images(self._root)
        if not found:
            raise ValueError(_no_images(self._root, others))
        labels, class_names = _labels(found, labels)
        self._lock = threading.Lock()
        good, self._skipped = check_images(
            self._root, found, threads=max(8, THREADS), progress=progress
        )
        self._num_files = len(found)
        self._max_bad_share = max_bad_share
        if self._too_many_bad() or not good:
            raise ValueError(self._bad_share_message())
        self._image_size = image_size
        self._channels = channels or 3
        self._failed = set()  # indices that failed to decode
        self._pool = futures.ThreadPoolExecutor(THREADS, "cl_keras_decode")
        names = [found[place] for place, _ in good]
        sizes = [size for _, size in good]
        size = (image_size, image_size) if image_size else _common_size(self._spec, names, sizes)
        super().__init__(
            self._spec,
            len(names),
            (*size, self._channels),
            labels=None if labels is None else labels[[place for place, _ in good]],
            class_names=class_names,
            names=names,
        )

    @property
    def skipped(self):
        """List of (name, reason), by name: the files that could not be read, so far."""
        with self._lock:
            return sorted(self._skipped)

    def _read(self, indices):
        self._stop_if_too_many_bad()
        pairs = list(self._pool.map(self._read_one, indices.tolist()))
        images, used = zip(*pairs, strict=True)
        return np.stack(images), np.array(used, np.int64)

    def _read_one(self, index):
        """The image at `index`, or the next that can be read, and its index."""
        for step in range(self.num_images):
            candidate = (index + step) % self.num_images
            if candidate in self._failed:
                continue
            image, reason = self._try(candidate)
            if image is not None:
                return image, candidate
            self._note_failure(candidate, reason)
        raise RuntimeError(self._bad_share_message())

    def _try(self, index):
        path = os.path.join(self._root, self.names[index])
        try:
            image = decode(path, image_size=self._image_size, channels=self._channels)
        except MemoryError:
            raise
        except Exception as error:  # Pillow raises many kinds on damaged data
            return None, explain(error)
        if image.shape != self.image_shape:
            return None, f"is {image.shape[1]} × {image.shape[0]} pixels, unlike the others"
        return image, None

    def _note_failure(self, index, reason):
        with self._lock:
            if index not in self._failed:
                self._failed.add(index)
                self._skipped.append((self.names[index], reason))
        self._stop_if_too_many_bad()

    def _stop_if_too_many_bad(self):
        if self._too_many_bad():
            raise RuntimeError(self._bad_share_message())

    def _too_many_bad(self):
        return len(self._skipped) > self._max_bad_share * self._num_files

    def _bad_share_message(self):
        skipped, files = self.skipped, self._num_files
        bad = len(skipped)
        first = "; ".join(f"{name} ({reason})" for name, reason in skipped[:3])
        advice = f"load({self._spec!r}, max_bad_share={math.ceil(100 * bad / files) / 100})"
        return (
            f"{bad} of {files} image files in {self._root} ({bad / files:.1%}) cannot be read, "
            f"max_bad_share permits {self._max_bad_share:.1%}. The first: {first}. "
            + ("None is left." if bad == files else f"Mend or remove them, or permit it: {advice}.")
        )


def _checked_folder(path):
    root = pathlib.Path(path).expanduser()
    if not root.exists():
        raise FileNotFoundError(f"there is no folder {root} (looked for {root.absolute()}).")
    if not root.is_dir():
        raise NotADirectoryError(f"{root} is a file; a folder of images is expected.")
    return root


def _no_images(root, others):
    kinds = ", ".join(extension.lstrip(".") for extension in EXTENSIONS)
    found = ", ".join(f"{count} × {extension}" for extension, count in others.most_common(8))
    return (
        f"no image in the folder {root}: expected files that end in {kinds}; "
        f"found {'other files: ' + found if found else 'no files at all'}."
    )


def _labels(names, labels):
    """(int64 array or None, class names or None) for all files that were found."""
    if labels is None:
        return None, None
    if not isinstance(labels, str):
        return as_labels(labels, len(names), "image files"), None
    first = [name.partition("/")[0] for name in names]
    classes = sorted(set(first))
    if len(classes) < 2 or any("/" not in name for name in names):
        return None, None
    number = {name: label for label, name in enumerate(classes)}
    return np.array([number[name] for name in first], np.int64), classes


def _common_size(spec, names, sizes):
    """The (height, width) that all files share."""
    for name, size in zip(names, sizes, strict=True):
        if size != sizes[0]:
            common = collections.Counter(min(pair) for pair in sizes).most_common(1)[0][0]
            raise ValueError(
                f"the images have different sizes: {names[0]} is {sizes[0][1]} × {sizes[0][0]}, "
                f"{name} is {size[1]} × {size[0]} (width × height). Give the size they should get, "
                f"for example load({spec!r}, image_size={min(common, 224)})."
            )
    return sizes[0]
