"""Finds the image files below a folder."""

from __future__ import annotations

import collections
import dataclasses
import functools
import os
import pathlib

from cl_keras.data.image_files import EXTENSIONS, BadImage
from cl_keras.data.printable import printable
from cl_keras.data.reading import attempt

UNSUPPORTED = {
    **dict.fromkeys((".heic", ".heif", ".hif"), "HEIC"),
    **dict.fromkeys((".avif", ".avifs"), "AVIF"),
    **dict.fromkeys((".jp2", ".j2k", ".jpf", ".jpx", ".jpm"), "JPEG 2000"),
    **dict.fromkeys((".jxl",), "JPEG XL"),
    **dict.fromkeys((".svg", ".svgz"), "SVG"),
    **dict.fromkeys((".psd", ".psb"), "Photoshop"),
    **dict.fromkeys((".exr",), "OpenEXR"),
    **dict.fromkeys((".hdr",), "Radiance"),
    **dict.fromkeys((".pbm", ".pgm", ".ppm", ".pnm", ".tga", ".ico", ".pcx", ".dds"), "uncommon"),
    **dict.fromkeys((".dng", ".cr2", ".cr3", ".nef", ".arw", ".orf", ".rw2", ".raf"), "camera raw"),
    **dict.fromkeys((".pef", ".srw"), "camera raw"),
}
"""Extensions of picture formats that are not read, and their names."""


@dataclasses.dataclass(frozen=True)
class Listing:
    """The contents of a folder and the folders below it.

    Attributes:
        paths: paths of the image files, relative to the folder, with forward slashes, sorted.
        skipped: (printable name, reason) of pictures in other formats and of unreadable folders.
        others: counts of the other visible files by extension.
    """

    paths: list[str]
    skipped: list[tuple[str, str]]
    others: collections.Counter


def checked_folder(path: str | os.PathLike) -> pathlib.Path:
    """The path of a folder; a leading `~` is expanded.

    Raises:
        FileNotFoundError, NotADirectoryError: there is no such folder.
    """
    root = pathlib.Path(path).expanduser()
    shown = printable(str(root))
    if not root.exists():
        absolute = printable(str(root.absolute()))
        raise FileNotFoundError(f"there is no folder {shown} (looked for {absolute}).")
    if not root.is_dir():
        raise NotADirectoryError(f"expected a folder of images; {shown} is a file.")
    return root


def find_images(root: str | os.PathLike) -> Listing:
    """Lists the image files below a folder by extension, without opening them.

    Hidden files and folders are ignored. Links to folders are followed, but each folder is visited
    only once, so a link that leads back up does no harm. Folders without read permission are
    skipped and named.

    Args:
        root: path of a folder.

    Raises:
        OSError: the folder itself cannot be read, or the system failed repeatedly.
    """
    listing, visited = Listing([], [], collections.Counter()), set()
    folders = [""]
    while folders:
        folder = folders.pop()
        path = os.path.join(root, folder)
        try:
            status = attempt(functools.partial(os.stat, path), path)
            if (status.st_dev, status.st_ino) in visited:
                continue
            visited.add((status.st_dev, status.st_ino))
            entries = attempt(functools.partial(_entries, path), path)
        except BadImage as reason:
            if not folder:
                raise PermissionError(f"the folder {printable(path)} {reason}.") from reason
            listing.skipped.append((printable(folder) + "/", f"folder {reason}"))
            continue
        for name, is_folder in entries:
            below = f"{folder}/{name}" if folder else name
            if is_folder:
                folders.append(below)
            else:
                _sort_in(listing, below)
    listing.paths.sort()
    listing.skipped.sort()
    return listing


def no_images(root: pathlib.Path, listing: Listing) -> str:
    """A sentence about a folder without images: what was expected, and what it holds."""
    kinds = ", ".join(extension.lstrip(".") for extension in EXTENSIONS)
    counts = listing.others.most_common(8)
    found = ", ".join(f"{count} × {extension}" for extension, count in counts)
    closed = sum(name.endswith("/") for name, _ in listing.skipped)
    return (
        f"no image in the folder {printable(str(root))}: expected files that end in {kinds}; "
        f"found {'other files: ' + found if found else 'no files at all'}"
        + (f", and {closed} folders without read permission." if closed else ".")
    )


def _entries(path):
    """(name, whether it is a folder) of all visible entries."""
    with os.scandir(path) as found:
        return [(e.name, _is_folder(e)) for e in found if not _is_hidden(e.name)]


def _is_hidden(name):
    return name.startswith(".") or name == "__MACOSX"  # what macOS puts into archives


def _is_folder(entry):
    try:
        return entry.is_dir()
    except OSError:  # a link into a folder that is closed
        return False


def _sort_in(listing, path):
    extension = pathlib.PurePath(path).suffix.lower()
    if extension in EXTENSIONS:
        listing.paths.append(path)
        return
    listing.others[printable(extension) or "no extension"] += 1
    if kind := UNSUPPORTED.get(extension):
        advice = "convert it to PNG or JPEG"
        listing.skipped.append((printable(path), f"{kind} ({extension}) is not read: {advice}"))
