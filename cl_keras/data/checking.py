"""Telling whole image files from broken ones, without decoding the whole ones."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from tqdm import tqdm

from cl_keras.data.image_files import BadImage, explain, size_and_end
from cl_keras.data.pixels import decode
from cl_keras.data.reading import attempt, check_regular, open_descriptor, read_image_file

THREADS = 8  # that wait for the disk
CHUNK = 128  # files that a thread takes at a time
EDGE = 64  # bytes at either end of a file that are looked at
MAX_PLAIN_PIXELS = 2**24  # of a file that its head and tail are enough for


@dataclasses.dataclass(frozen=True, slots=True)
class Checked:
    """What a look at an image file told.

    Attributes:
        content: size of the file in bytes and a hash of its first and last 64 bytes, which hold
            most formats' own checksum or the last of the pixels; "" where it cannot be read.
        size: (height, width) upright, or None where it was not asked for or is not known.
        problem: why the file cannot be used, or None.
    """

    content: str
    size: tuple[int, int] | None = None
    problem: str | None = None


def check_files(
    root: str | os.PathLike, names: Sequence[str], *, sizes: bool, progress: bool = True
) -> list[Checked]:
    """Looks at the head and the tail of every file, in threads.

    Where these do not suffice, as in a file whose end marker is missing, it is decoded to decide:
    cameras append things to their pictures, and such a picture is whole.

    Args:
        root: path of the folder.
        names: paths relative to it.
        sizes: whether the sizes of the images are needed.
        progress: show a progress bar where it takes more than a second.

    Raises:
        OSError: the system failed repeatedly; it names the file.
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
        for part in pool.map(lambda chunk: [_check(root, name, sizes) for name in chunk], chunks):
            found += part
            bar.update(len(part))
    return found


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
    """(whether a common file is whole, its (height, width) where that is plain to see)."""
    if head.startswith(b"\xff\xd8\xff"):
        return b"\xff\xd9" in tail, None  # the size stands somewhere behind, and may be turned
    if not head.startswith(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"):
        return False, None
    width, height = (int.from_bytes(head[start : start + 4], "big") for start in (16, 20))
    whole = b"IEND\xaeB`\x82" in tail and 0 < width * height <= MAX_PLAIN_PIXELS
    # Its orientation may stand anywhere; a square has the same size however it is turned.
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
