import hashlib
import os

import pytest

from cl_keras.files import replacing, sha256, write_atomically


def test_it_writes_text_and_bytes_and_replaces(tmp_path):
    path = tmp_path / "a.txt"
    write_atomically(path, "grün")
    assert path.read_bytes() == "grün".encode()
    write_atomically(path, b"\x00\x01")
    assert path.read_bytes() == b"\x00\x01"
    assert sha256(path) == hashlib.sha256(b"\x00\x01").hexdigest()
    assert os.listdir(tmp_path) == ["a.txt"]


def test_a_failure_leaves_what_was_there(tmp_path):
    path = tmp_path / "a.weights.h5"
    path.write_text("old")

    def half_a_write():
        with replacing(path) as temporary:
            assert temporary.name.endswith(".weights.h5")
            temporary.write_text("half")
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        half_a_write()
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.weights.h5"]
