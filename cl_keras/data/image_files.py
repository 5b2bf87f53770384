"""Image files on disk: finding them, and telling the whole from the broken without decoding."""

import collections
import os
import pathlib
import stat
import warnings
from concurrent import futures

from PIL import Image
from tqdm import tqdm

from cl_keras.data.pixels import FORMATS, decode, orientation

EXTENSIONS = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".gif", ".bmp", ".webp")
TAIL = 64  # bytes at the end of a file that are searched for its end marker
CHUNK = 4096  # files handed to the threads at a time


class BadImage(Exception):
    """An image file that cannot be used; its text is the reason."""


def find_images(root):
    """Lists the image files below a folder, by their extension.

    Hidden files and folders are passed over. Links to folders are followed, each folder is visited
    once, so a link that leads back up does no harm.

    Args:
        root: path of a folder.

    Returns:
        (names, others): `names` is the sorted list of paths relative to `root`, with forward
        slashes; `others` is a `Counter` of the extensions of all other visible files.
    """
    names, others, visited = [], collections.Counter(), set()
    for folder, subfolders, files in os.walk(root, followlinks=True, onerror=_raise):
        status = os.stat(folder)
        if (status.st_dev, status.st_ino) in visited:
            subfolders.clear()
            continue
        visited.add((status.st_dev, status.st_ino))
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        for file in (name for name in files if not name.startswith(".")):
            extension = os.path.splitext(file)[1].lower()
            if extension in EXTENSIONS:
                path = pathlib.Path(folder, file)
                names.append(path.relative_to(root).as_posix())
            else:
                others[extension or "no extension"] += 1
    return sorted(names), others


def check_images(root, names, *, threads=8, progress=True):
    """Looks at the head and the tail of every file, in threads.

    Args:
        root: path of the folder.
        names: list of paths relative to `root`.
        threads: int. Default: 8.
        progress: bool, show a progress bar where it takes more than a second. Default: True.

    Returns:
        (good, skipped): `good` is a list of (position in `names`, (height, width)), `skipped` a
        list of (name, reason).
    """
    good, skipped = [], []
    with (
        futures.ThreadPoolExecutor(threads) as pool,
        tqdm(
            total=len(names), desc="Checking images", unit="file", delay=1, disable=not progress
        ) as bar,
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # reported as a reason
        for start in range(0, len(names), CHUNK):
            chunk = names[start : start + CHUNK]
            paths = [os.path.join(root, name) for name in chunk]
            for place, result in enumerate(pool.map(_check, paths)):
                if isinstance(result, BadImage):
                    skipped.append((chunk[place], str(result)))
                else:
                    good.append((start + place, result))
                bar.update()
    return good, skipped


def check_image(path):
    """The size of an image file, from its head, if its tail shows it to be complete.

    Where the end marker is missing, the file is decoded to decide: cameras append things to their
    pictures, and such a picture is whole.

    Args:
        path: path of a file.

    Returns:
        (height, width) in pixels, after the EXIF orientation.

    Raises:
        BadImage: with the reason.
    """
    try:
        status = os.stat(path)  # before opening: opening a pipe would wait for ever
        if not stat.S_ISREG(status.st_mode):
            raise BadImage("not a regular file")
        if status.st_size == 0:
            raise BadImage("empty file")
        with open(path, "rb") as file:
            size, complete = _size_and_end(file, status.st_size)
    except OSError as error:
        raise BadImage(f"cannot be opened: {error.strerror or error}") from error
    if not complete:
        _decode_to_decide(path)
    return size


def explain(error):
    """One line that says why an image could not be decoded."""
    if isinstance(error, Image.UnidentifiedImageError):
        return "not a JPEG, PNG, GIF, BMP or WebP image"
    text = " ".join(str(error).split())
    return f"cannot be decoded: {text or type(error).__name__}"


def _check(path):
    try:
        return check_image(path)
    except BadImage as error:
        return error


def _size_and_end(file, length):
    try:
        with Image.open(file, formats=FORMATS) as image:
            width, height = image.size
            if orientation(image) in (5, 6, 7, 8):
                width, height = height, width
            form = image.format
    except Exception as error:  # Pillow raises many kinds on a damaged head
        raise BadImage(explain(error)) from error
    limit = Image.MAX_IMAGE_PIXELS
    if limit is not None and width * height > limit:
        raise BadImage(
            f"{width} × {height} pixels are more than PIL.Image.MAX_IMAGE_PIXELS ({limit})"
        )
    return (height, width), _ends_well(file, form, length)


def _ends_well(file, form, length):
    file.seek(0)
    head = file.read(8)
    file.seek(max(0, length - TAIL))
    tail = file.read()
    if form == "PNG":
        return b"IEND\xaeB`\x82" in tail
    if form == "GIF":
        return tail.rstrip(b"\0").endswith(b";")
    if form == "BMP":
        return 0 < int.from_bytes(head[2:6], "little") <= length
    if form == "WEBP":
        return int.from_bytes(head[4:8], "little") + 8 <= length
    return b"\xff\xd9" in tail  # JPEG, and MPO, which is several JPEGs in a row


def _decode_to_decide(path):
    try:
        decode(path)
    except MemoryError:
        raise
    except Exception as error:
        raise BadImage(f"truncated ({explain(error)})") from error


def _raise(error):
    raise error
