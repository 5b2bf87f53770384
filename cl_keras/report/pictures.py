"""Images as pictures, in grids and inside pages."""

import base64
import io

import numpy as np
from PIL import Image

_SMALL, _LARGE = 64, 128  # sides in pixels between which a tile is not resized


def to_uint8(images: np.ndarray) -> np.ndarray:
    """Images as uint8.

    Args:
        images: `[…, h, w, c]` in 0..255, uint8 or float; c is 1 or 3.

    Returns:
        uint8 array of the same shape; floats are rounded and clipped.

    Raises:
        ValueError: fewer than three axes, no pixels, or another number of channels.
    """
    images = np.asarray(images)
    if images.ndim < 3 or 0 in images.shape or images.shape[-1] not in (1, 3):
        raise ValueError(
            f"Expected images [..., height, width, 1 or 3]; received shape {images.shape}."
        )
    if images.dtype == np.uint8:
        return images
    return np.clip(np.rint(np.nan_to_num(images)), 0, 255).astype(np.uint8)


def tile(image: np.ndarray, side: int | None = None) -> Image.Image:
    """An image as a picture; a small one is enlarged by a whole factor, a large one shrunk.

    Args:
        image: `[h, w, c]` in 0..255; c is 1 or 3.
        side: approximate length of the longer side in pixels; default: from 64 to 128.

    Returns:
        `PIL.Image.Image`, mode L or RGB.
    """
    image = to_uint8(image)
    picture = Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)
    longer = max(picture.size)
    small, large = (_SMALL, _LARGE) if side is None else (side, side)
    if longer < small:
        factor = max(1, round(small / longer))
        return picture.resize([s * factor for s in picture.size], Image.Resampling.NEAREST)
    if longer > large:
        sizes = [max(1, round(s * large / longer)) for s in picture.size]
        return picture.resize(sizes, Image.Resampling.BOX)
    return picture


def resize(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resizes an image `[h, w, c]` to `[height, width, c]`, smoothly; uint8."""
    image = to_uint8(image)
    picture = Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)
    resized = np.asarray(picture.resize((width, height), Image.Resampling.BILINEAR))
    return resized.reshape(height, width, image.shape[-1])


def image_grid(
    images: np.ndarray,
    *,
    padding: int = 4,
    side: int | None = None,
    background: tuple[int, int, int] = (255, 255, 255),
) -> Image.Image:
    """A grid of images as one picture.

    Args:
        images: `[rows, columns, h, w, c]` in 0..255; c is 1 or 3.
        padding: number of pixels between images; default: 4.
        side: approximate length of the longer side of an image in pixels; default: from 64 to 128.
        background: color between the images, (red, green, blue); default: white.

    Returns:
        `PIL.Image.Image`, mode RGB.

    Raises:
        ValueError: another number of axes or channels.
    """
    images = to_uint8(images)
    if images.ndim != 5:
        raise ValueError(
            f"Expected images [rows, columns, height, width, channels]; received {images.shape}."
        )
    tiles = [[tile(image, side) for image in row] for row in images]
    width, height = tiles[0][0].size
    across, down = width + padding, height + padding
    size = (len(tiles[0]) * across - padding, len(tiles) * down - padding)
    grid = Image.new("RGB", size, background)
    for y, row in enumerate(tiles):
        for x, picture in enumerate(row):
            grid.paste(picture, (x * across, y * down))
    return grid


def data_uri(picture: Image.Image) -> str:
    """A picture as a data URI of a PNG."""
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
