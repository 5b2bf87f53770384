"""Writes checkpoints byte by byte: valid ones without PyTorch, and malicious ones."""

import dataclasses
import io
import struct
import zipfile

import numpy as np

PROTO, STOP, MARK = b"\x80\x02", b".", b"("
MAGIC = 0x1950A86A20F9469CFC6C
STORAGES = {
    "<f4": "FloatStorage",
    "<f8": "DoubleStorage",
    "<f2": "HalfStorage",
    "<i8": "LongStorage",
    "<i4": "IntStorage",
}


@dataclasses.dataclass(frozen=True)
class Raw:
    """Opcodes that leave one value on the stack."""

    code: bytes


@dataclasses.dataclass(frozen=True)
class View:
    """A tensor whose description may differ from its storage."""

    storage: np.ndarray
    offset: object = 0
    shape: object = (1,)
    strides: object = (1,)
    count: object = None
    type: str | None = None
    key: object = None


def text(string):
    data = string.encode("utf-8", "surrogatepass")
    return b"X" + struct.pack("<I", len(data)) + data


def integer(number):
    size = number.bit_length() // 8 + 1
    return b"\x8a" + bytes([size]) + number.to_bytes(size, "little", signed=True)


def name(module, attribute):
    return b"c" + f"{module}\n{attribute}\n".encode()


def call(function, *arguments):
    """A call of a function, or of what `Raw` opcodes leave."""
    return Raw(function + MARK + b"".join(map(Pickle().code, arguments)) + b"tR")


class Pickle:
    """The opcodes of values, and the arrays that they refer to."""

    def __init__(self):
        self.storages = {}

    def dump(self, value):
        return PROTO + self.code(value) + STOP

    def code(self, value):
        match value:
            case Raw():
                return value.code
            case None | True | False:
                return {None: b"N", True: b"\x88", False: b"\x89"}[value]
            case str():
                return text(value)
            case int():
                return integer(value)
            case float():
                return b"G" + struct.pack(">d", value)
            case tuple():
                return MARK + b"".join(map(self.code, value)) + b"t"
            case list():
                return b"](" + b"".join(map(self.code, value)) + b"e"
            case dict():
                pairs = b"".join(self.code(part) for pair in value.items() for part in pair)
                return b"}(" + pairs + b"u"
            case np.ndarray():
                steps = tuple(step // value.itemsize for step in value.strides)
                return self.code(View(value.ravel(order="K"), 0, value.shape, steps))
            case View():
                return self._tensor(value)
        raise TypeError(type(value))

    def _tensor(self, view):
        key = str(len(self.storages)) if view.key is None else view.key
        self.storages[key] = view.storage
        kind = view.type or STORAGES[view.storage.dtype.str]
        count = view.storage.size if view.count is None else view.count
        identity = (
            MARK
            + b"".join([text("storage"), name("torch", kind)])
            + b"".join(map(self.code, [key, "cpu", count]))
            + b"tQ"
        )
        rest = b"".join(map(self.code, [view.offset, view.shape, view.strides, False, {}]))
        return name("torch._utils", "_rebuild_tensor_v2") + MARK + identity + rest + b"tR"


def write_zip(path, value=None, *, pickle=None, change=lambda members: members):
    """Writes the newer form.

    Args:
        path: of the file.
        value: what is saved, if `pickle` is not given: the bytes of the pickle.
        change: function from the list of (name or ZipInfo, bytes) to the one to write.
    """
    content = Pickle()
    data = content.dump(value) if pickle is None else pickle
    members = [("archive/data.pkl", data), ("archive/byteorder", b"little")]
    members += [(f"archive/data/{k}", array.tobytes()) for k, array in content.storages.items()]
    members += [("archive/version", b"3\n")]
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for member, payload in change(members):
            archive.writestr(member, payload)


def write_old(path, value=None, *, pickle=None, change=lambda parts: parts):
    """Writes the older format; `change` gets the list of its parts: four pickles, keys, numbers."""
    content = Pickle()
    data = content.dump(value) if pickle is None else pickle
    system = {"protocol_version": 1001, "little_endian": True, "type_sizes": {"int": 4}}
    parts = [Pickle().dump(part) for part in (MAGIC, 1001, system)]
    parts += [data, Pickle().dump(list(content.storages))]
    for array in content.storages.values():
        parts.append(struct.pack("<q", array.size) + array.tobytes())
    path.write_bytes(b"".join(change(parts)))


def python2(pickled):
    """The same pickle as Python 2 wrote it: text as byte strings."""
    import pickletools

    stream, out = io.BytesIO(pickled), []
    places = [(op, arg, pos) for op, arg, pos in pickletools.genops(stream)]
    ends = [pos for _, _, pos in places[1:]] + [len(pickled)]
    for (opcode, argument, start), end in zip(places, ends, strict=True):
        if opcode.name == "BINUNICODE":
            data = argument.encode("latin-1")
            out.append(b"U" + bytes([len(data)]) + data)
        else:
            out.append(pickled[start:end])
    return b"".join(out)
