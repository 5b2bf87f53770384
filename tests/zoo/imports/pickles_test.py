"""The pickle machine against Python's own, on plain values; and what it refuses."""

import collections
import io
import pickle

import numpy as np
import pytest

from cl_keras.zoo.imports import pickles
from tests.zoo.imports import torch_writer as writer

NAMES = {
    ("collections", "OrderedDict"): pickles.Builder(pickles.ordered_dict),
    ("argparse", "Namespace"): pickles.Opaque("argparse.Namespace"),
}


def no_reference(identity):
    raise ValueError(f"no reference is known: {identity}")


def read(data, persistent=no_reference):
    return pickles.read(io.BytesIO(data), NAMES, persistent)


def random_value(rng, depth):
    kind = rng.integers(8 if depth else 5)
    if kind == 0:
        return [None, True, False, 1.5, -0.0, float("inf")][rng.integers(6)]
    if kind in (1, 2):
        return int(rng.integers(-(2**62), 2**62)) >> int(rng.integers(62))
    if kind == 3:
        return "text é " * int(rng.integers(80))
    if kind == 4:
        return bytes(rng.integers(0, 256, rng.integers(300), dtype="uint8"))
    items = [random_value(rng, depth - 1) for _ in range(rng.integers(6))]
    if kind == 5:
        return {f"key {i}": item for i, item in enumerate(items)}
    return items if kind == 6 else tuple(items)


@pytest.mark.parametrize("protocol", [3, 4, 5])
def test_plain_values_are_read_as_python_reads_them(protocol):
    rng = np.random.default_rng(protocol)
    for _ in range(200):
        value = random_value(rng, 4)
        assert read(pickle.dumps(value, protocol)) == value


def test_values_that_stand_in_two_places_are_one():
    shared = [1]
    found = read(pickle.dumps({"a": shared, "b": shared}, 2))
    assert found == {"a": [1], "b": [1]}
    assert found["a"] is found["b"]


@pytest.mark.parametrize("protocol", [2, 4])
def test_an_ordered_dict_is_a_dict_in_its_order(protocol):
    value = collections.OrderedDict([("b", 1), ("a", 2)])
    value._metadata = {"version": 1}
    found = read(pickle.dumps(value, protocol))
    assert type(found) is dict
    assert list(found.items()) == [("b", 1), ("a", 2)]


def test_what_python_2_wrote_is_read():
    pairs = [["weight", 1], ["bias", 2]]
    ordered = writer.call(writer.name("collections", "OrderedDict"), pairs)
    data = writer.python2(writer.Pickle().dump({"state_dict": ordered}))
    assert b"U\x06weight" in data
    assert read(data) == {"state_dict": {"weight": 1, "bias": 2}}


def test_the_stream_stands_behind_the_pickle():
    stream = io.BytesIO(pickle.dumps([1, 2], 2) + b"rest")
    assert pickles.read(stream, NAMES, no_reference) == [1, 2]
    assert stream.read() == b"rest"


def test_an_object_that_is_passed_over_is_never_made():
    import argparse

    arguments = argparse.Namespace(lr=0.1, sizes=[1, 2])
    found = read(pickle.dumps({"args": arguments, "epoch": 3}, 2))
    assert found["epoch"] == 3
    assert found["args"].name == "argparse.Namespace"
    assert not isinstance(found["args"], argparse.Namespace)


def test_references_are_given_to_the_caller():
    reference = writer.Raw(writer.Pickle().code(("storage", 5)) + b"Q")
    assert read(writer.Pickle().dump([reference]), lambda identity: list(identity)) == [
        ["storage", 5]
    ]


@pytest.mark.parametrize(
    "code, complaint",
    [
        (b"cos\nsystem\n.", "'os.system', which no checkpoint needs"),
        (b"\x80\x04\x8c\x02os\x8c\x06system\x93.", "'os.system'"),
        (b"\x80\x04\x8c\x02osK\x01\x93.", "int is out of place"),
        (b"(cos\nsystem\n.", "'os.system'"),
        (b"cx\\y\nz\n.", "backslash"),
        (b"(ios\nsystem\n.", "opcode INST"),
        (b"(]o.", "opcode OBJ"),
        (b"\x82\x01.", "opcode EXT1"),
        (b"\x83\x01\x00.", "opcode EXT2"),
        (b"\x84\x01\x00\x00\x00.", "opcode EXT4"),
        (b"Pname\n.", "opcode PERSID"),
        (b"]]\x92.", "opcode NEWOBJ_EX"),
        (b"\x8f.", "opcode EMPTY_SET"),
        (b"N0.", "opcode POP"),
        (b"N2.", "opcode DUP"),
        (b"I5\n.", "opcode INT"),
        (b"N)R.", "NoneType is out of place"),
        (b"X\x01\x00\x00\x00a)R.", "str is out of place"),
        (b"ccollections\nOrderedDict\n]R.", "list is out of place"),
        (b"ccollections\nOrderedDict\nK\x01\x85R.", "must be made of pairs"),
        (b"ccollections\nOrderedDict\nNNN\x87R.", "takes from 0 to 1 positional"),
        (b"ccollections\nOrderedDict\n)\x81.", "Builder is out of place"),
        (b"NNb.", "NoneType is out of place"),
        (b"K\x01Q.", "int is out of place"),
        (b"NK\x01s.", "stack runs empty"),
        (b"NNK\x01s.", "NoneType is out of place"),
        (b"NK\x01a.", "NoneType is out of place"),
        (b"}(K\x01u.", "a key lacks its value"),
        (b"}]K\x01s.", "A key must be a plain value; received list"),
        (b"})\x85\x85K\x01s.", "A key must be a plain value; received tuple"),
        (b"h\x05.", "its memo has no 5"),
        (b".", "leaves no single value"),
        (b"NN.", "leaves no single value"),
        (b"(.", "leaves no single value"),
        (b"t.", "a mark is missing"),
        (b"(q\x00.", "stack runs empty"),
        (b"\x80\x09N.", "protocol 9"),
        (b"\x80\x01N.", "protocol 1"),
        (b"", "exhausted"),
        (b"N", "exhausted"),
        (b"\xffN.", "unknown"),
        (b"X\xff\xff\xff\x7fabc.", "longer than"),
        (b"X\x05\x00\x00\x00abc", "bytes"),
        (b"X\x01\x00\x00\x00\xff.", "decode"),
        (b"\x8b\xff\xff\xff\xff.", "byte count"),
        (b"cos\n", "no newline"),
    ],
)
def test_what_is_refused(code, complaint):
    with pytest.raises(ValueError, match=complaint):
        read(code)


@pytest.mark.parametrize(
    "code",
    [
        b"(" + b"N" * 1_100_000 + b"t.",
        b"]" * 1_100_000 + b".",
        # A list of 50,000 pairs, made into a dict again and again.
        writer.Pickle().code([[i, i] for i in range(20_000)])
        + b"\x85q\x01"
        + b"ccollections\nOrderedDict\nh\x01R" * 1_000
        + b".",
    ],
    ids=["wide", "deep", "again"],
)
def test_long_work_is_cut_off(code):
    with pytest.raises(ValueError, match="takes more than 1000000 steps"):
        read(code)


def test_a_long_pickle_is_cut_off():
    piece = writer.text("a" * 2**20)
    with pytest.raises(ValueError, match="longer than 33554432 bytes"):
        read(b"(" + piece * 40 + b"t.")


def test_a_tower_of_tuples_is_no_key():
    tower = b"}" + b")" + b"\x85" * 200_000 + b"Ns."
    with pytest.raises(ValueError, match="A key must be a plain value"):
        read(tower)
