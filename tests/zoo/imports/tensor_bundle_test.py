"""TensorFlow's checkpoints, against TensorFlow's own reader, and crafted ones."""

import io
import struct

import google_crc32c
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import tensor_bundle_pb2

from cl_keras.zoo.imports import tensor_bundle

DATA = ".data-00000-of-00001"


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """(Index, numbers, what TensorFlow reads) of a checkpoint that TensorFlow wrote."""
    prefix = str(tmp_path_factory.mktemp("bundle") / "model")
    rng = np.random.default_rng(0)
    names = [f"layer_{i}/{part}" for i in range(200) for part in ("kernel", "bias")]
    values = {
        name: rng.normal(size=rng.integers(1, 5, rng.integers(0, 5))).astype(kind)
        for name, kind in zip(
            names, ["float32", "float64", "float16", "float32"] * 100, strict=True
        )
    }
    values["global_step"] = np.int64(7)
    tf.raw_ops.SaveV2(
        prefix=prefix,
        tensor_names=list(values),
        shape_and_slices=[""] * len(values),
        tensors=[tf.constant(value) for value in values.values()],
    )
    reader = tf.train.load_checkpoint(prefix)
    known = {name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()}
    with open(prefix + ".index", "rb") as index, open(prefix + DATA, "rb") as data:
        return index.read(), data.read(), known


def read(index, data, names=None):
    entries = tensor_bundle.read_index(io.BytesIO(index))
    wanted = {name: entries[name] for name in entries if names is None or name in names}
    return dict(tensor_bundle.read_arrays(io.BytesIO(data), wanted))


def test_it_reads_what_tensorflow_reads(checkpoint):
    index, data, known = checkpoint
    entries = tensor_bundle.read_index(io.BytesIO(index))
    assert {name: tensor_bundle.shape_of(entry) for name, entry in entries.items()} == {
        name: value.shape if name != "global_step" else () for name, value in known.items()
    }
    found = read(index, data, known.keys() - {"global_step"})
    assert len(found) == 400
    for name, array in found.items():
        np.testing.assert_array_equal(array, known[name])
        assert array.dtype == known[name].dtype


def test_numbers_that_are_not_floating_point_are_refused(checkpoint):
    with pytest.raises(ValueError, match="'global_step' must be a whole tensor of floating-point"):
        read(*checkpoint[:2])


def test_every_flipped_byte_of_the_index_is_found(checkpoint):
    """TensorFlow's reader aborts the process on some of them."""
    index, data, known = checkpoint
    names = known.keys() - {"global_step"}
    (filters, _), _ = tensor_bundle._handle(index[-tensor_bundle._FOOTER :], 0)
    for place in range(0, len(index), 7):
        changed = bytearray(index)
        changed[place] ^= 1 << place % 8
        try:
            found = read(bytes(changed), data, names)
        except ValueError:
            continue
        for name, array in found.items():  # what is not covered by a checksum is not needed
            np.testing.assert_array_equal(array, known[name])
        assert place >= filters  # their block is not read; behind it is the footer


def test_a_file_truncated_anywhere_is_refused(checkpoint):
    index, data, known = checkpoint
    names = known.keys() - {"global_step"}
    for length in range(0, len(index), 97):
        with pytest.raises(ValueError):
            read(index[:length], data, names)
    for length in range(0, len(data) - 20, 97):
        with pytest.raises(ValueError, match="ends within"):
            read(index, data[:length], names)


def test_a_flipped_bit_of_the_numbers_is_found(checkpoint):
    index, data, known = checkpoint
    changed = bytearray(data)
    changed[len(data) // 2] ^= 4
    with pytest.raises(ValueError, match="damaged: its checksum differs"):
        read(index, bytes(changed), known.keys() - {"global_step"})


def varint(number):
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes([*out, number])


def block(*entries, shared=lambda i: 0, restarts=1):
    """A block of (key, value) pairs with the right checksum."""
    content = b"".join(
        varint(shared(i)) + varint(len(key)) + varint(len(value)) + key + value
        for i, (key, value) in enumerate(entries)
    )
    content += struct.pack("<II", 0, restarts) + b"\0"
    return content + struct.pack("<I", tensor_bundle._masked(google_crc32c.value(content)))


def table(data_block, handles=1, handle=None):
    """A whole index, valid except for the given parts."""
    first = handle or varint(0) + varint(len(data_block) - 5)
    index = block(*[(b"z%05d" % i, first) for i in range(handles)])
    footer = varint(0) + varint(0) + varint(len(data_block)) + varint(len(index) - 5)
    return data_block + index + footer.ljust(40, b"\0") + struct.pack("<Q", 0xDB4775248B80FB57)


HEADER = (b"", tensor_bundle_pb2.BundleHeaderProto(num_shards=1).SerializeToString())


def entry(**fields):
    shape = fields.pop("shape", (2,))
    message = tensor_bundle_pb2.BundleEntryProto(dtype=1, size=8, **fields)
    for length in shape:
        message.shape.dim.add(size=length)
    return (b"w", message.SerializeToString())


NUMBERS = np.array([1.5, 2.5], "<f4")
CHECKSUM = tensor_bundle._masked(google_crc32c.value(NUMBERS.tobytes()))


def test_a_table_made_by_hand_is_read():
    index = table(block(HEADER, entry(crc32c=CHECKSUM)))
    np.testing.assert_array_equal(read(index, NUMBERS.tobytes())["w"], NUMBERS)


def crafted():
    good = entry(crc32c=CHECKSUM)
    yield "no header", table(block(good))
    yield "two shards", table(block((b"", b"\x08\x02"), good))
    yield "no message", table(block(HEADER, (b"w", b"\xff\xff\xff")))
    yield "huge shape", table(block(HEADER, entry(crc32c=CHECKSUM, shape=(2**62, 2**62))))
    yield "many axes", table(block(HEADER, entry(crc32c=CHECKSUM, shape=(1,) * 10_000 + (2**62,))))
    yield "negative shape", table(block(HEADER, entry(crc32c=CHECKSUM, shape=(-2, -1))))
    yield "negative offset", table(block(HEADER, entry(crc32c=CHECKSUM, offset=-8)))
    yield "offset beyond", table(block(HEADER, entry(crc32c=CHECKSUM, offset=2**62)))
    yield "other shard", table(block(HEADER, entry(crc32c=CHECKSUM, shard_id=1)))
    yield "other checksum", table(block(HEADER, entry(crc32c=1)))
    yield "shared beyond", table(block(HEADER, good, shared=lambda i: 5 * i))
    yield "long key", table(block(HEADER, (b"k" * 1001, good[1])))
    yield "restarts", table(block(HEADER, good, restarts=2**31))
    yield "handle beyond", table(block(HEADER, good), handle=varint(2**30) + varint(50))
    yield "huge handle", table(block(HEADER, good), handle=varint(0) + varint(2**34))
    yield "endless number", table(block(HEADER, good), handle=b"\xff" * 20)
    yield (
        "again and again",
        table(block(HEADER, *[(b"%d" % i, b"") for i in range(9)]), handles=10**4),
    )
    yield "many tensors", table(block(HEADER, *[(b"%d" % i, b"") for i in range(20_001)]))
    yield "large", bytes(tensor_bundle.MAX_INDEX_BYTES + 1)
    yield "empty", b""


CRAFTED = dict(crafted())


@pytest.mark.parametrize("name", CRAFTED)
def test_a_crafted_index_is_refused(name):
    with pytest.raises(ValueError):
        read(CRAFTED[name], NUMBERS.tobytes())


def test_tensors_cannot_overlap():
    both = [(name, entry(crc32c=CHECKSUM)[1]) for name in (b"a", b"b")]
    with pytest.raises(ValueError, match="must have 8 bytes"):
        read(table(block(HEADER, *both)), NUMBERS.tobytes())
