"""The pickle machine, against Python's own, on plain values; and what it refuses."""

import argparse
import collections
import datetime
import fractions
import io
import os
import pathlib
import pickle

import numpy as np
import pytest

from cl_keras.zoo.imports import pickles, torch_tensors
from tests.zoo.imports import torch_writer as writer

NAMES = {
    ("collections", "OrderedDict"): torch_tensors.NAMES["collections", "OrderedDict"],
    ("m", "f"): lambda x: x,
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


def test_values_referenced_twice_are_one_object():
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


def test_the_stream_is_left_after_the_pickle():
    stream = io.BytesIO(pickle.dumps([1, 2], 2) + b"rest")
    assert pickles.read(stream, NAMES, no_reference) == [1, 2]
    assert stream.read() == b"rest"


OBJECTS = {
    "path": pathlib.PurePosixPath("/etc/passwd"),
    "counter": collections.Counter("abca"),
    "defaultdict": collections.defaultdict(list, {"a": [1]}),
    "namespace": argparse.Namespace(lr=0.1, sizes=[1, 2]),
    "array": np.arange(5.0),
    "scalar": np.float32(3),
    "dtype": np.dtype("<f4"),
    "text array": np.array(["a", "b"]),
    "function": os.path.join,
    "class": argparse.Namespace,
    "set": {1, 2},
    "frozenset": frozenset([1]),
    "bytearray": bytearray(b"abc"),
    "slice": slice(1, 2),
    "complex": 1 + 2j,
    "fraction": fractions.Fraction(1, 3),
    "date": datetime.datetime(2020, 1, 1),
    "object as a key": {argparse.Namespace: 1, "b": 2},
    "tuple as a key": {(1, 2): 1, "b": 2},
}


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("name", OBJECTS)
def test_objects_among_plain_values_are_skipped_and_never_created(name, protocol):
    content = {"before": 1, "object": OBJECTS[name], "after": [2, {"epoch": 3}]}
    found = read(pickle.dumps(content, protocol))
    assert (found["before"], found["after"]) == (1, [2, {"epoch": 3}])
    if "key" in name:
        assert found["object"] == {"b": 2}
    elif name != "bytearray" or protocol < 5:
        assert isinstance(found["object"], pickles.Opaque)


def test_no_name_in_a_file_is_looked_up(monkeypatch):
    """Not even whether the module exists."""

    def refuse(*_, **__):
        raise AssertionError("an import")

    code = b"cos\nsystem\nX\x05\x00\x00\x00touch\x85Rcno.such\nmodule\n)\x81}b\x86."
    monkeypatch.setattr("builtins.__import__", refuse)
    first, second = read(code)
    monkeypatch.undo()
    assert (first.name, second.name) == ("os.system", "no.such.module")


def test_references_are_passed_to_the_caller():
    reference = writer.Raw(writer.Pickle().code(("storage", 5)) + b"Q")
    assert read(writer.Pickle().dump([reference]), lambda identity: list(identity)) == [
        ["storage", 5]
    ]


@pytest.mark.parametrize(
    "code, complaint",
    [
        (b"\x80\x04\x8c\x02osK\x01\x93.", "int is out of place"),
        (b"cx\\y\nz\n.", "backslash"),
        (b"(ios\nsystem\n.", "opcode INST"),
        (b"(]o.", "opcode OBJ"),
        (b"\x82\x01.", "opcode EXT1"),
        (b"\x83\x01\x00.", "opcode EXT2"),
        (b"\x84\x01\x00\x00\x00.", "opcode EXT4"),
        (b"Pname\n.", "opcode PERSID"),
        (b"I5\n.", "opcode INT"),
        (b"ccollections\nOrderedDict\n]R.", "list is out of place"),
        (b"ccollections\nOrderedDict\nK\x01\x85R.", "must be pairs"),
        (b"ccollections\nOrderedDict\nNNN\x87R.", "takes from 0 to 1 positional"),
        (b"0.", "stack runs empty"),
        (b"\x8a\x11" + b"\xff" * 16 + b"\x7f.", "more than 16 bytes"),
        (b"\x80\x04X\xc9\x00\x00\x00" + b"a" * 201 + b"\x8c\x01b\x93.", "longer than 200"),
        (b"NNb.", "NoneType is out of place"),
        (b"K\x01Q.", "int is out of place"),
        (b"NK\x01s.", "stack runs empty"),
        (b"NNK\x01s.", "NoneType is out of place"),
        (b"NK\x01a.", "NoneType is out of place"),
        (b"}(K\x01u.", "a key lacks its value"),
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
def test_invalid_pickles_are_refused(code, complaint):
    with pytest.raises(ValueError, match=complaint):
        read(code)


def memoized(value, use):
    """A value in the memo, and opcodes that use it repeatedly."""
    return writer.Pickle().code(value) + b"q\x01" + use + b"."


PAIRS = [[i, i] for i in range(100)]
LONG_TUPLE = tuple(range(100))
LONG_WORK = {
    "wide": b"(" + b"N" * 3000 + b"t.",
    "deep": b"]" * 3000 + b".",
    "names": b"".join(b"cm\ng%d\n" % i for i in range(600)) + b".",
    "list of pairs": memoized(PAIRS, b"ccollections\nOrderedDict\nh\x01\x85R" * 50),
    "tuple of pairs": memoized(tuple(PAIRS), b"ccollections\nOrderedDict\nh\x01\x85R" * 50),
    "a dict": memoized(dict(PAIRS), b"cm\nf\nh\x01\x85R" * 50),
    "arguments": memoized(LONG_TUPLE, b"cm\nf\nh\x01\x85R" * 50),
    "references": memoized(LONG_TUPLE, b"h\x01Q" * 50),
    "items": memoized(None, b"](" + b"h\x01" * 1000 + b"e" + b"(" + b"h\x01" * 1000 + b"e"),
}


@pytest.mark.parametrize("name", LONG_WORK)
def test_every_touched_element_counts(name, monkeypatch):
    """Including those that the memo repeats for one byte each."""
    monkeypatch.setattr(pickles, "MAX_STEPS", 2500)
    with pytest.raises(ValueError, match="takes more than 2500 steps"):
        read(LONG_WORK[name], lambda identity: None)


@pytest.mark.parametrize(
    "key", [LONG_TUPLE, 2**61 - 1, 2**100, -(2**61), 1.5, None, ((),)], ids=repr
)
def test_keys_whose_hash_may_be_slow_or_collide_are_dropped(key):
    value = writer.Raw(
        writer.Pickle().code({"a": 1, "b": 2})[:-1] + writer.Pickle().code(key) + b"Nu"
    )
    assert read(writer.Pickle().dump(value)) == {"a": 1, "b": 2}


def test_a_long_pickle_is_refused():
    piece = writer.text("a" * 2**20)
    with pytest.raises(ValueError, match="longer than 25165824 bytes"):
        read(b"(" + piece * 40 + b"t.")


def test_a_tower_of_tuples_is_never_hashed():
    tower = b"}" + b")" + b"\x85" * 200_000 + b"Ns."
    assert read(tower) == {}
