"""Archives whose directory alone would fill memory."""

import io
import struct
import tracemalloc
import zipfile

import pytest

from cl_keras.zoo.imports import zips


def directory(count, *, zip64=False):
    """An archive with only a directory: `count` members that do not exist."""
    record = b"PK\x01\x02" + bytes(24) + struct.pack("<H", 1) + bytes(16) + b"a"
    data = record * count
    if not zip64:
        return data + b"PK\x05\x06" + struct.pack("<4H2LH", 0, 0, 0, 0, len(data), 0, 0)
    end = b"PK\x06\x06" + struct.pack("<QHHLL4Q", 44, 45, 45, 0, 0, count, count, len(data), 0)
    locator = b"PK\x06\x07" + struct.pack("<LQL", 0, len(data), 1)
    most = (0xFFFF,) * 2 + (0xFFFFFFFF,) * 2
    return data + end + locator + b"PK\x05\x06" + struct.pack("<4H2LH", 0, 0, *most, 0)


def test_an_archive_is_read():
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("a/b", b"content")
    with zips.opened(stream) as archive:
        assert archive.read("a/b") == b"content"


@pytest.mark.parametrize("zip64", [False, True])
def test_a_handmade_directory_is_read(zip64):
    with zips.opened(io.BytesIO(directory(3, zip64=zip64))) as archive:
        assert archive.namelist() == ["a"] * 3


@pytest.mark.parametrize("zip64", [False, True])
@pytest.mark.parametrize("count", [20_001, 500_000])
def test_a_large_directory_is_refused_before_it_is_parsed(count, zip64):
    stream = io.BytesIO(directory(count, zip64=zip64))
    tracemalloc.start()
    with pytest.raises(ValueError, match="more than 4194304|more than 20000 members"):
        with zips.opened(stream):
            pass
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 50e6
