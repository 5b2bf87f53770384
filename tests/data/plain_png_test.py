"""Small PNG files that are decoded many at a time: exactly Pillow's pixels, or left to Pillow."""

import io
import shutil
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from cl_keras.data import folder, load
from cl_keras.data.pixels import decode
from cl_keras.data.plain_png import MAX_BYTES, PlainPngs, suits

HEIGHT, WIDTH = 5, 7


def chunk(kind, content):
    checksum = struct.pack(">I", zlib.crc32(kind + content))
    return struct.pack(">I", len(content)) + kind + content + checksum


def png(rows, channels, *, between=b"", parts=1):
    """A PNG file of filtered rows, uint8 `[h, 1 + w · channels]`, each with its kind first."""
    size = struct.pack(">II", (rows.shape[1] - 1) // channels, len(rows))
    header = chunk(b"IHDR", size + bytes([8, {1: 0, 3: 2}[channels], 0, 0, 0]))
    stream = zlib.compress(rows.tobytes())
    cuts = np.linspace(0, len(stream), parts + 1).astype(int)
    data = b"".join(chunk(b"IDAT", stream[i:j]) for i, j in zip(cuts[:-1], cuts[1:], strict=True))
    return b"\x89PNG\r\n\x1a\n" + header + between + data + chunk(b"IEND", b"")


def filtered(random, channels, kinds=5):
    """Any bytes are rows of some image."""
    rows = random.integers(0, 256, [HEIGHT, 1 + WIDTH * channels]).astype(np.uint8)
    rows[:, 0] = random.integers(0, kinds, HEIGHT)
    return rows


def pillow(data, channels):
    return decode(io.BytesIO(data), channels=channels)


@pytest.mark.parametrize("channels", [1, 3])
def test_pixels_are_those_of_pillow(random, channels):
    stored = [channels if i % 2 else 1 for i in range(60)]  # gray files also among those in color
    files = [png(filtered(random, each), each) for each in stored]
    plain = PlainPngs((HEIGHT, WIDTH, channels))
    images, intact = plain.decode([plain.recognize(data) for data in files])
    assert intact.all()
    np.testing.assert_array_equal(images, [pillow(data, channels) for data in files])


def test_what_pillow_saves_is_plain(random):
    image = Image.fromarray(random.integers(0, 256, [HEIGHT, WIDTH, 3]).astype("uint8"))
    for options in ({}, {"optimize": True}, {"compress_level": 0}):
        file = io.BytesIO()
        image.save(file, "PNG", **options)
        plain = PlainPngs((HEIGHT, WIDTH, 3))
        images, _ = plain.decode([plain.recognize(file.getvalue())])
        np.testing.assert_array_equal(images[0], image)


def saved(mode, form="PNG", size=(WIDTH, HEIGHT), **options):
    file = io.BytesIO()
    Image.new(mode, size, 1).save(file, form, **options)
    return file.getvalue()


def text():
    info = PngImagePlugin.PngInfo()
    info.add_text("a", "b")
    return saved("RGB", pnginfo=info)


@pytest.mark.parametrize(
    "data",
    [
        *(b"", b"\x89PNG\r\n\x1a\n", text(), saved("RGB", "JPEG"), saved("RGB", size=(7, 7))),
        *(saved(mode) for mode in ("1", "P", "LA", "RGBA", "I;16")),
        saved("RGB", transparency=(1, 0, 0)),
        saved("RGB") + b"\0",
        saved("RGB")[:-1],
    ],
)
def test_other_files_are_left_alone(data):
    assert PlainPngs((HEIGHT, WIDTH, 3)).recognize(data) is None


def test_pixels_in_parts_or_after_metadata_are_left_alone(random):
    plain, rows = PlainPngs((HEIGHT, WIDTH, 3)), filtered(random, 3)
    assert plain.recognize(png(rows, 3)) is not None
    assert plain.recognize(png(rows, 3, parts=2)) is None
    assert plain.recognize(png(rows, 3, between=chunk(b"tRNS", b"\0" * 6))) is None
    assert PlainPngs((HEIGHT, WIDTH, 1)).recognize(png(rows, 3)) is None, "luma is Pillow's"


def test_large_files_and_images_are_left_alone(random):
    assert suits((128, 128, 3)) and not suits((224, 224, 3))
    stream = b"\0" * MAX_BYTES
    file = png(filtered(random, 1), 1)
    at = file.index(b"IDAT") - 4
    assert PlainPngs((HEIGHT, WIDTH, 1)).recognize(file[:at] + chunk(b"IDAT", stream)) is None


@pytest.mark.parametrize("change", ["longer", "shorter", "more", "bomb"])
def test_streams_of_another_length_are_damaged(random, change):
    rows = filtered(random, 3).tobytes()
    stream = {
        "longer": zlib.compress(rows + b"\0"),
        "shorter": zlib.compress(rows[:-1]),
        "more": zlib.compress(rows) + b"\0",
        "bomb": zlib.compress(rows + bytes(2**24)),
    }[change]
    file = png(filtered(random, 3), 3)
    end = chunk(b"IEND", b"")
    data = file[: file.index(b"IDAT") - 4] + chunk(b"IDAT", stream) + end
    plain = PlainPngs((HEIGHT, WIDTH, 3))
    other = plain.recognize(file)
    images, intact = plain.decode([other, plain.recognize(data), other])
    assert intact.tolist() == [True, False, True]
    np.testing.assert_array_equal(images[2], pillow(file, 3))


def test_a_changed_byte_changes_nothing_that_pillow_sees_otherwise(random):
    """Whatever is taken for intact has the pixels that Pillow reads from it."""
    file = png(filtered(random, 3), 3)
    plain, taken = PlainPngs((HEIGHT, WIDTH, 3)), 0
    for at in range(len(file)):
        for change in (1, 64, 255):
            data = file[:at] + bytes([file[at] ^ change]) + file[at + 1 :]
            if (found := plain.recognize(data)) is None:
                continue
            images, intact = plain.decode([found])
            if intact[0]:
                taken += 1
                np.testing.assert_array_equal(images[0], pillow(data, 3))
    assert taken > 0, "some bytes, such as a checksum that Pillow ignores, change nothing"


@pytest.fixture
def mixed(tmp_path, random):
    """A folder of plain and other files, of which three cannot be read."""
    for i in range(24):
        rows = filtered(random, 3 if i % 3 else 1, kinds=6 if i == 7 else 5)
        rows[0, 0] = 5 if i == 7 else 0
        (tmp_path / f"{i:02}.png").write_bytes(png(rows, 3 if i % 3 else 1))
    (tmp_path / "03.png").write_bytes(text())
    (tmp_path / "04.png").write_bytes(saved("RGB", "JPEG"))
    (tmp_path / "05.png").write_bytes(saved("RGBA"))
    data = bytearray((tmp_path / "10.png").read_bytes())
    data[45:53] = b"\0" * 8
    (tmp_path / "10.png").write_bytes(data)
    (tmp_path / "11.png").write_bytes(b"")
    return tmp_path


def everything(path):
    source = load(f"folder:{path}", max_bad_share=0.5, progress=False)
    batches = source.batches(6, shuffle=False)
    elements = [(b["image"].numpy(), b["index"].numpy()) for b in batches]
    again = source.images(range(24))
    images, indices = (np.concatenate(parts) for parts in zip(*elements, strict=True))
    return images, indices, again, source.skipped, source.identity()


def test_a_folder_is_read_as_if_pillow_read_each_file(mixed, monkeypatch):
    one_by_one = everything(mixed)
    assert len(one_by_one[3]) == 3
    monkeypatch.setattr(folder, "MIN_FILES", 1)
    at_once = everything(mixed)
    for expected, received in zip(one_by_one[:3], at_once[:3], strict=True):
        np.testing.assert_array_equal(received, expected)
    assert at_once[3:] == one_by_one[3:]


def test_a_file_that_breaks_or_vanishes_later_is_replaced(mixed, monkeypatch):
    monkeypatch.setattr(folder, "MIN_FILES", 1)
    source = load(f"folder:{mixed}", max_bad_share=0.5, progress=False)
    (mixed / "20.png").unlink()
    shutil.copy(mixed / "10.png", mixed / "21.png")
    images, indices = source._read(np.arange(19, 24))
    assert indices.tolist() == [19, 22, 22, 22, 23]
    np.testing.assert_array_equal(images[1], images[3])
    reasons = dict(source.skipped)
    assert reasons["20.png"].startswith("cannot be opened") and "21.png" in reasons


def test_each_file_is_read_once(mixed, monkeypatch):
    monkeypatch.setattr(folder, "MIN_FILES", 1)
    source = load(f"folder:{mixed}", max_bad_share=0.5, progress=False)
    opened, read = [], folder.read_image_file
    monkeypatch.setattr(folder, "read_image_file", lambda path: opened.append(path) or read(path))
    sound = [i for i in range(24) if i not in (7, 10, 11)]
    for _ in range(2):
        source.images(sound)
    assert len(opened) == len(set(opened)) == len(sound)
