"""Which image files are read, and whether they look complete, without decoding them."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence

from PIL import Image

from cl_keras.data import image_header
from cl_keras.data.pixels import UnsupportedImage, checked_header

EXTENSIONS = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".gif", ".bmp", ".webp", ".tif", ".tiff"),
)
UNSERVED = (".tif", ".tiff")
"""Extensions of files that are trained on, and that a served encoder refuses: TensorFlow cannot
decode them in a graph."""

TAIL = 64  # bytes at the end of a file that are searched for its end marker


class BadImage(Exception):
    """An image file that cannot be used; the message is the reason."""


def unserved(names: Iterable[str | None]) -> list[str]:
    """Those names of image files whose format is trained on and not served.

    Args:
        names: of files; None, of an image without a name, is left out.
    """
    return [name for name in names if name and name.lower().endswith(UNSERVED)]


def name_unserved(names: Sequence[str], of: int) -> str:
    """A sentence about image files that are trained on and not served.

    Args:
        names: what `unserved` gave, at least one.
        of: number of all images.
    """
    some = ", ".join(names[:3]) + (", …" if len(names) > 3 else "")
    return (
        f"{len(names)} of {of} images are TIFF files ({some}), which are trained on and cannot be "
        "served: `serve_bytes` refuses them. Convert them to PNG to serve such files."
    )


def explain(error: Exception) -> str:
    """One line that explains why an image could not be decoded."""
    if isinstance(error, UnsupportedImage):
        return str(error)
    if isinstance(error, Image.UnidentifiedImageError):
        return image_header.PROBLEMS[image_header.DAMAGED]
    text = " ".join(str(error).split())
    return f"cannot be decoded: {text or type(error).__name__}"


def size_and_end(data: bytes) -> tuple[tuple[int, int], bool]:
    """The size of an image, and whether its file ends properly.

    Args:
        data: the whole file.

    Returns:
        ((height, width) after the EXIF orientation, whether the end marker is there). A file with
        data after its end marker may be complete, too.

    Raises:
        BadImage: if the file is not accepted.
    """
    try:
        header = checked_header(data)
    except UnsupportedImage as error:
        raise BadImage(explain(error)) from error
    size = (header.height, header.width)
    size = size[::-1] if header.orientation >= 5 else size
    return size, _ends_well(io.BytesIO(data), header.format, len(data))


def _ends_well(file, form, length):
    head = file.read(8)
    file.seek(max(0, length - TAIL))
    tail = file.read()
    if form == image_header.PNG:
        return b"IEND\xaeB`\x82" in tail
    if form == image_header.GIF:
        return tail.rstrip(b"\0").endswith(b";")
    if form == image_header.BMP:
        return 0 < int.from_bytes(head[2:6], "little") <= length
    if form == image_header.WEBP:
        return int.from_bytes(head[4:8], "little") + 8 <= length
    return form == image_header.JPEG and b"\xff\xd9" in tail  # a TIFF has no end marker
