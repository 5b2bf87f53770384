import json

import pytest

from cl_keras.runs.checksummed_json import dumps, loads

CONTENT = {"file": "ü.npz", "logs": {"loss": 0.1, "knn": 1e-07}, "list": [1, None]}


def test_what_is_written_is_read_back_and_is_readable():
    text = dumps(CONTENT)
    assert loads(text.encode()) == CONTENT
    assert json.loads(text)["logs"] == CONTENT["logs"] and '\n  "logs": {\n' in text


def test_every_flip_of_every_byte_is_found():
    data = dumps(CONTENT).encode()
    for at in range(len(data)):
        for bit in range(8):
            flipped = bytearray(data)
            flipped[at] ^= 1 << bit
            with pytest.raises(ValueError):
                loads(bytes(flipped))


@pytest.mark.parametrize(
    "change", [lambda d: d[:-1], lambda d: d + b" ", lambda d: b"", bytes.upper]
)
def test_every_other_length_is_found(change):
    with pytest.raises(ValueError):
        loads(change(dumps(CONTENT).encode()))


@pytest.mark.parametrize("data", [b"[]", b"null", b"7", b"{}", b"[" * 100_000])
def test_other_json_is_refused(data):
    with pytest.raises(ValueError):
        loads(data)
