"""Tells complete image files from broken ones, without decoding the complete ones."""

from __future__ import annotations

import collections
import dataclasses
import hashlib
import io
import os
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from tqdm import tqdm

from cl_keras.data.image_files import BadImage, explain, size_and_end
from cl_keras.data.pixels import decode
from cl_keras.data.reading import attempt, check_regular, open_descriptor, read_image_file

THREADS = 8  # waiting for the disk
CHUNK = 128  # files per task of a thread
PATIENCE = 0.05  # seconds of waiting for the disk before threads are used
EDGE = 64  # bytes to look at, at either end of a file
MAX_PLAIN_PIXELS = 2**24  # of an image that is judged by the head and tail of its file


@dataclasses.dataclass(frozen=True, slots=True)
class Checked:
    """The result of checking an image file.

    Attributes:
        content: size of the file in bytes and a hash of its first and last 64 bytes, which hold a
            checksum or the last pixels in most formats; "" if it cannot be read.
        size: (height, width) when upright, or None if it was not requested or is not known.
        problem: why the file cannot be used, or None.
    """

    content: str
    size: tuple[int, int] | None = None
    problem: str | None = None


def check_files(
    root: str | os.PathLike, names: Sequence[str], *, sizes: bool, progress: bool = True
) -> list[Checked]:
    """Checks the head and the tail of every file, in threads if the disk takes its time.

    If they do not suffice, as when the end marker is missing, the file is decoded: cameras append
    data to their pictures, which are complete nonetheless.

    Args:
        root: path of the folder.
        names: paths relative to it.
        sizes: whether the sizes of the images are needed.
        progress: show a progress bar if it takes more than a second; default: True.

    Raises:
        OSError: the system failed repeatedly; the message names the file.
    """
    chunks = [names[start : start + CHUNK] for start in range(0, len(names), CHUNK)]
    found: list[Checked] = []
    with (
        ThreadPoolExecutor(THREADS) as pool,
        tqdm(
            total=len(names),
            desc="Checking images",
            unit="file",
            delay=1,
            disable=None if progress else True,
        ) as bar,
    ):
        for part in _map(pool, lambda chunk: [_check(root, name, sizes) for name in chunk], chunks):
            found += part
            bar.update(len(part))
    return found


def common_size(spec: str, names: Sequence[str], checked: Sequence[Checked]) -> tuple[int, int]:
    """The (height, width) that all readable files share.

    Args:
        spec: of the source, for the message.
        names: printable names of the files.
        checked: of each file, with its size; at least one has one.

    Raises:
        ValueError: they have different sizes.
    """
    sized = [(name, file.size) for name, file in zip(names, checked, strict=True) if file.size]
    first, size = sized[0]
    for name, other in sized:
        if other != size:
            common = collections.Counter(min(pair) for _, pair in sized).most_common(1)[0][0]
            raise ValueError(
                f"the images have different sizes: {first} is {size[1]} × {size[0]}, "
                f"{name} is {other[1]} × {other[0]} (width × height). Give the size to resize them "
                f"to, for example load({spec!r}, image_size={min(common, 224)})."
            )
    return size


def _map(pool, function, chunks):
    """Results in order: from one thread as long as it hardly waits, then from all threads.

    Without waiting, threads would only take the interpreter from each other, at twice the cost.
    """
    rest = iter(chunks)
    begin, cpu_begin = time.perf_counter(), time.thread_time()
    for chunk in rest:
        yield function(chunk)
        seconds = time.perf_counter() - begin
        if seconds > 2 * (time.thread_time() - cpu_begin) + PATIENCE:
            break
    yield from pool.map(function, rest)


def _check(root, name, sizes) -> Checked:
    path = os.path.join(root, name)
    content = ""
    try:
        num_bytes, head, tail = attempt(lambda: _edges(path), path)
        content = f"{num_bytes}-{hashlib.blake2b(head + tail, digest_size=6).hexdigest()}"
        whole, size = _looks_whole(head, tail)
        if whole and (size or not sizes):
            return Checked(content, size)
        return Checked(content, _size_of(read_image_file(path)))
    except BadImage as reason:
        return Checked(content, None, str(reason))


def _edges(path):
    """(number of bytes, the first, the last `EDGE` bytes)."""
    descriptor = open_descriptor(path)
    try:
        status = os.fstat(descriptor)
        check_regular(status)
        head = os.read(descriptor, EDGE)
        os.lseek(descriptor, max(0, status.st_size - EDGE), os.SEEK_SET)
        return status.st_size, head, os.read(descriptor, EDGE)
    finally:
        os.close(descriptor)


def _looks_whole(head, tail):
    """(whether a JPEG or PNG is complete, its (height, width) if that is easy to tell)."""
    if head.startswith(b"\xff\xd8\xff"):
        return b"\xff\xd9" in tail, None  # the size comes later in the file, and may be rotated
    if not head.startswith(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"):
        return False, None
    width, height = (int.from_bytes(head[start : start + 4], "big") for start in (16, 20))
    whole = b"IEND\xaeB`\x82" in tail and 0 < width * height <= MAX_PLAIN_PIXELS
    # The orientation may be anywhere in the file; a square has the same size in any orientation.
    return whole, (height, width) if height == width else None


def _size_of(data):
    size, complete = size_and_end(data)
    if not complete:
        try:
            decode(io.BytesIO(data))
        except MemoryError:
            raise
        except Exception as error:  # Pillow raises many kinds on damaged data
            raise BadImage(f"truncated ({explain(error)})") from error
    return size
