import io
import os
import pickle
import struct
import zipfile

import numpy as np
import pytest

from cl_keras.zoo.weights import npz

A = np.arange(6, dtype="float32").reshape(2, 3)
STEP = np.array(7, dtype="int64")
EXPECTED = {"stem/a": ((2, 3), "float32"), "step": ((), "int64")}


def npy(array, **how):
    """The bytes of an array's file."""
    stream = io.BytesIO()
    np.lib.format.write_array(stream, np.asanyarray(array), **how)
    return stream.getvalue()


def archive(*members, **how):
    """An archive of (name, bytes) or (ZipInfo, bytes)."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", **how) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return stream.getvalue()


def read(content):
    return npz.read(io.BytesIO(content), EXPECTED, "a.npz")


GOOD = [("stem/a.npy", npy(A)), ("step.npy", npy(STEP))]


@pytest.mark.parametrize("compressed", [False, True])
def test_what_is_written_is_read(tmp_path, compressed):
    values = {"stem/a": A, "step": STEP}
    npz.write(tmp_path / "a.npz", values, compressed=compressed)
    with open(tmp_path / "a.npz", "rb") as stream:
        found = npz.read(stream, EXPECTED, "a.npz")
    assert list(found) == list(EXPECTED)
    for name, value in values.items():
        np.testing.assert_array_equal(found[name], value)
        assert found[name].dtype == value.dtype


def test_deflated_and_stored_members_are_read():
    for compression in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        found = read(archive(*GOOD, compression=compression))
        np.testing.assert_array_equal(found["stem/a"], A)


class Harmful:
    """Writes a file when it is unpickled."""

    def __init__(self, canary):
        self.canary = str(canary)

    def __reduce__(self):
        return os.system, (f"touch {self.canary}",)


@pytest.mark.parametrize("form", ["object array", "pickle", "object member", "pickle member"])
def test_no_code_in_a_file_is_run(form, tmp_path):
    canary = tmp_path / "canary"
    harmful = np.array([Harmful(canary)], dtype=object)
    content = {
        "object array": npy(harmful, allow_pickle=True),
        "pickle": pickle.dumps(Harmful(canary)),
        "object member": archive(("stem/a.npy", npy(harmful, allow_pickle=True)), GOOD[1]),
        "pickle member": archive(("stem/a.npy", pickle.dumps(Harmful(canary))), GOOD[1]),
    }[form]
    with pytest.raises(ValueError, match="a.npz"):
        read(content)
    assert not canary.exists()
    pickle.loads(pickle.dumps(Harmful(canary)))
    assert canary.exists()  # it would have


def header(text, version=(1, 0), length=None):
    """The beginning of an array's file, with any text as its header."""
    text = text.encode("latin1") + b"\n"
    size = struct.pack("<H" if version == (1, 0) else "<I", len(text) if length is None else length)
    return b"\x93NUMPY" + bytes(version) + size + text


def form(descr="'<f4'", order="False", shape="(2, 3)"):
    return f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}"


def symlink(name):
    member = zipfile.ZipInfo(name)
    member.external_attr = 0o120777 << 16
    return member


def encrypted():
    content = bytearray(archive(*GOOD))
    for sign in (b"PK\x03\x04", b"PK\x01\x02"):
        place = content.index(sign) + (6 if sign == b"PK\x03\x04" else 8)
        content[place] |= 1
    return bytes(content)


def lying(size):
    """An archive whose directory says another size of its first member."""
    content = bytearray(archive(*GOOD, compression=zipfile.ZIP_DEFLATED))
    struct.pack_into("<I", content, content.index(b"PK\x01\x02") + 24, size)
    return bytes(content)


BOMB = archive(("stem/a.npy", npy(np.zeros(10**7, "float32"))), compression=zipfile.ZIP_DEFLATED)

HOSTILE = {
    "empty": b"",
    "no archive": b"no archive at all",
    "a web page": b"<!DOCTYPE html><html></html>",
    "an array alone": npy(A),
    "HDF5": b"\x89HDF\r\n\x1a\n" + b"\0" * 100,
    "empty archive": archive(),
    "one is missing": archive(GOOD[0]),
    "one too many": archive(*GOOD, ("more.npy", npy(A))),
    "twice": None,
    "../ member": archive(*GOOD, ("../evil.npy", npy(A))),
    "../ in place": archive(("../stem/a.npy", npy(A)), GOOD[1]),
    "absolute member": archive(*GOOD, ("/etc/passwd", b"")),
    "folder member": archive(*GOOD, ("stem/", b"")),
    "symlink member": archive(*GOOD, (symlink("link"), b"/etc/passwd")),
    "symlink in place": archive((symlink("stem/a.npy"), b"/etc/passwd"), GOOD[1]),
    "without .npy": archive(("stem/a", npy(A)), GOOD[1]),
    "other ending": archive(("stem/a.npy.npy", npy(A)), GOOD[1]),
    "bomb": BOMB,
    "bomb in size": archive((GOOD[0][0], npy(A) + b"\0" * 10**6), GOOD[1]),
    "bzip2": archive(*GOOD, compression=zipfile.ZIP_BZIP2),
    "lzma": archive(*GOOD, compression=zipfile.ZIP_LZMA),
    "encrypted": encrypted(),
    "a larger size in the directory": lying(4000),
    "a smaller size in the directory": lying(100),
    "a huge size in the directory": lying(2**32 - 2),
    "wrong shape": archive(("stem/a.npy", npy(A.T.copy())), GOOD[1]),
    "flat": archive(("stem/a.npy", npy(A.reshape(-1))), GOOD[1]),
    "in columns": archive(("stem/a.npy", npy(np.asfortranarray(A))), GOOD[1]),
    "float64": archive(("stem/a.npy", npy(A.astype("float64"))), GOOD[1]),
    "big-endian": archive(("stem/a.npy", npy(A.astype(">f4"))), GOOD[1]),
    "int32": archive(("stem/a.npy", npy(A.astype("int32"))), GOOD[1]),
    "complex": archive(("stem/a.npy", npy(A[0].astype("complex64"))), GOOD[1]),
    "text": archive(("stem/a.npy", npy(np.array(["aaaaaa"]))), GOOD[1]),
    "record": archive(("stem/a.npy", npy(np.zeros([2, 3], [("a", "f4")]))), GOOD[1]),
    "NaN": archive(("stem/a.npy", npy(A * np.float32("nan"))), GOOD[1]),
    "infinity": archive(("stem/a.npy", npy(A + np.float32("inf"))), GOOD[1]),
    "numbers missing": archive(("stem/a.npy", npy(A)[:-1]), GOOD[1]),
    "one more number": archive(("stem/a.npy", npy(A) + b"\0\0\0\0"), GOOD[1]),
    "no header": archive(("stem/a.npy", A.tobytes()), GOOD[1]),
    "empty member": archive(("stem/a.npy", b""), GOOD[1]),
    "version 3": archive(("stem/a.npy", npy(A, version=(3, 0))), GOOD[1]),
    "version 9": archive(("stem/a.npy", b"\x93NUMPY\x09\x00" + npy(A)[8:]), GOOD[1]),
    "code in the header": archive(
        ("stem/a.npy", header("__import__('os').system('touch canary')") + A.tobytes()), GOOD[1]
    ),
    "deep header": archive(("stem/a.npy", header("(" * 3000) + A.tobytes()), GOOD[1]),
    "long header": archive(("stem/a.npy", header(form() + " " * 60_000) + A.tobytes()), GOOD[1]),
    "endless header": archive(
        ("stem/a.npy", header(form(), (2, 0), length=2**32 - 1) + A.tobytes()), GOOD[1]
    ),
    "negative shape": archive(
        ("stem/a.npy", header(form(shape="(-2, -3)")) + A.tobytes()), GOOD[1]
    ),
    "huge shape": archive(("stem/a.npy", header(form(shape="(2, 10**12)")) + A.tobytes()), GOOD[1]),
    "shape of text": archive(("stem/a.npy", header(form(shape="'ab'")) + A.tobytes()), GOOD[1]),
    "object in the header": archive(("stem/a.npy", header(form("'|O'")) + A.tobytes()), GOOD[1]),
    "no type": archive(("stem/a.npy", header(form("'zz'")) + A.tobytes()), GOOD[1]),
}


def twice():
    with pytest.warns(UserWarning, match="Duplicate name"):
        return archive(*GOOD, GOOD[0])


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_or_broken_file_is_refused(kind, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    content = twice() if HOSTILE[kind] is None else HOSTILE[kind]
    with pytest.raises(ValueError, match="a.npz"):
        read(content)
    assert os.listdir(tmp_path) == []


def test_every_place_where_it_can_be_cut(tmp_path):
    content = archive(*GOOD)
    for length in range(0, len(content), 7):
        with pytest.raises(ValueError, match="a.npz"):
            read(content[:length])


def test_a_changed_number_is_found_without_any_hash():
    content = bytearray(archive(*GOOD))
    content[content.index(A.tobytes()) + 9] ^= 1
    with pytest.raises(ValueError, match="a.npz.* Bad CRC-32"):
        read(bytes(content))


@pytest.mark.parametrize(
    "value", [np.array([np.nan], "float32"), np.array([object()]), np.array(["a"]), np.array([1j])]
)
def test_what_could_not_be_read_is_not_written(tmp_path, value):
    with pytest.raises(ValueError, match="The model has"):
        npz.write(tmp_path / "a.npz", {"a": value})
    assert os.listdir(tmp_path) == []
