import io
import json
import os
import pickle
import struct

import numpy as np
import pytest

from cl_keras.zoo.weights import tensors

A = np.arange(6, dtype="float32").reshape(2, 3)
STEP = np.array(7, dtype="int64")
EXPECTED = {"stem/a": ((2, 3), "float32"), "step": ((), "int64")}


def file_of(header, data=b""):
    """A file byte by byte: the length of the header, the header, the numbers."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def entry(dtype, shape, start, end):
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}


HEADER = {"stem/a": entry("F32", [2, 3], 0, 24), "step": entry("I64", [], 24, 32)}
DATA = A.tobytes() + STEP.tobytes()


def read(content):
    return tensors.read(io.BytesIO(content), EXPECTED, "a.safetensors")


def test_a_file_written_by_hand_is_read():
    """Written from the description of the format, without the library."""
    found = read(file_of(HEADER, DATA))
    np.testing.assert_array_equal(found["stem/a"], A)
    np.testing.assert_array_equal(found["step"], STEP)


def test_what_is_written_is_read(tmp_path):
    values = {"step": STEP, "stem/a": A.T.copy().T}
    tensors.write(tmp_path / "a.safetensors", values)
    with open(tmp_path / "a.safetensors", "rb") as stream:
        found = tensors.read(stream, EXPECTED, "a.safetensors")
    assert list(found) == list(EXPECTED)
    for name, value in values.items():
        np.testing.assert_array_equal(found[name], value)
        assert found[name].dtype == value.dtype and not found[name].flags.writeable


def changed(name, *form):
    return file_of(HEADER | {name: entry(*form)}, DATA)


def twice():
    text = json.dumps(HEADER).encode()
    return file_of(text[:-1] + b"," + text[1:], DATA)


HOSTILE = {
    "empty": b"",
    "a web page": b"<!DOCTYPE html><html></html>",
    "a pickle": pickle.dumps({"a": 1}),
    "a header without end": struct.pack("<Q", 2**63) + b"{",
    "a header beyond the file": struct.pack("<Q", 10**6) + b"{}",
    "no JSON": file_of(b"__import__('os').system('touch canary')", DATA),
    "deep JSON": file_of(b"[" * 5000, DATA),
    "a long header": file_of(json.dumps(HEADER).encode() + b" " * 10**7, DATA),
    "one is missing": file_of({"stem/a": HEADER["stem/a"]}, A.tobytes()),
    "one too many": file_of(HEADER | {"more": entry("F32", [1], 32, 36)}, DATA + b"0000"),
    "../ as a name": file_of({"../a": HEADER["stem/a"], "step": HEADER["step"]}, DATA),
    "wrong shape": changed("stem/a", "F32", [3, 2], 0, 24),
    "flat": changed("stem/a", "F32", [6], 0, 24),
    "float16": file_of(
        {"stem/a": entry("F16", [2, 3], 0, 12), "step": entry("I64", [], 12, 20)}, DATA[:20]
    ),
    "bfloat16": file_of(
        {"stem/a": entry("BF16", [2, 3], 0, 12), "step": entry("I64", [], 12, 20)}, DATA[:20]
    ),
    "float64": file_of(
        {"stem/a": entry("F64", [3], 0, 24), "step": entry("I64", [], 24, 32)}, DATA
    ),
    "unknown type": changed("stem/a", "OBJ", [2, 3], 0, 24),
    "negative shape": changed("stem/a", "F32", [-2, -3], 0, 24),
    "huge shape": changed("stem/a", "F32", [2**40, 2**40], 0, 24),
    "offsets beyond the end": changed("stem/a", "F32", [2, 3], 16, 40),
    "offsets that overlap": changed("stem/a", "F32", [2, 3], 8, 32),
    "offsets backwards": changed("stem/a", "F32", [2, 3], 24, 0),
    "a hole": file_of(
        {"stem/a": entry("F32", [2, 3], 0, 24), "step": entry("I64", [], 28, 36)}, DATA + b"0000"
    ),
    "more behind the end": file_of(HEADER, DATA + b"0" * 8),
    "NaN": file_of(HEADER, (A * np.float32("nan")).tobytes() + STEP.tobytes()),
    "infinity": file_of(HEADER, (A + np.float32("inf")).tobytes() + STEP.tobytes()),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_or_broken_file_is_refused(kind, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="a.safetensors"):
        read(HOSTILE[kind])
    assert os.listdir(tmp_path) == []


def test_a_duplicate_tensor_cannot_change_the_result():
    np.testing.assert_array_equal(read(twice())["stem/a"], A)


def test_a_file_truncated_anywhere_is_refused():
    content = file_of(HEADER, DATA)
    for length in range(len(content)):
        with pytest.raises(ValueError, match="a.safetensors"):
            read(content[:length])


@pytest.mark.parametrize(
    "value", [np.array([np.nan], "float32"), np.array([object()]), np.array(["a"]), np.array([1j])]
)
def test_unreadable_values_are_not_written(tmp_path, value):
    with pytest.raises(ValueError, match="The model has"):
        tensors.write(tmp_path / "a.safetensors", {"a": value})
    assert os.listdir(tmp_path) == []
