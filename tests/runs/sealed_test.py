import json

import pytest

from cl_keras.runs.sealed import seal, unseal

CONTENT = {"file": "ü.npz", "logs": {"loss": 0.1, "knn": 1e-07}, "list": [1, None]}


def test_what_is_sealed_comes_back_and_can_be_read_by_hand():
    text = seal(CONTENT)
    assert unseal(text.encode()) == CONTENT
    assert json.loads(text)["logs"] == CONTENT["logs"] and '\n  "logs": {\n' in text


def test_every_flip_of_every_byte_is_found():
    data = seal(CONTENT).encode()
    for place in range(len(data)):
        for bit in range(8):
            flipped = bytearray(data)
            flipped[place] ^= 1 << bit
            with pytest.raises(ValueError):
                unseal(bytes(flipped))


@pytest.mark.parametrize(
    "change", [lambda d: d[:-1], lambda d: d + b" ", lambda d: b"", bytes.upper]
)
def test_every_other_length_is_found(change):
    with pytest.raises(ValueError):
        unseal(change(seal(CONTENT).encode()))


@pytest.mark.parametrize("data", [b"[]", b"null", b"7", b"{}"])
def test_other_json_is_not_sealed(data):
    with pytest.raises(ValueError):
        unseal(data)
