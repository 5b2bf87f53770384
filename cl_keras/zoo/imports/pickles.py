"""A reader of pickles that runs nothing: a small machine for the opcodes that checkpoints use.

It builds dicts, lists, tuples, strings, bytes, numbers, booleans and None, and the results of the
caller's own functions. A name in the file (`os.system`) is only looked up in the caller's table;
any other name becomes an `Opaque`, as does everything made from it: no module is imported, no
attribute is read, nothing is called. Libraries for this task (PyTorch's `weights_only`, fickling)
need PyTorch, or first check and then unpickle; and none bounds time and memory.
"""

import dataclasses
import pickletools
from collections.abc import Callable, Mapping
from typing import Any, BinaryIO

MAX_PICKLE_BYTES = 24 * 2**20
MAX_STRING_BYTES = 8 * 2**20
MAX_INTEGER_BYTES = 16
MAX_NAME = 200
MAX_STEPS = 400_000
"""Limit of opcodes and elements they touch; the state of a ResNet-50 takes about 20,000."""

PROTOCOLS = range(2, 6)
_MARK = object()


@dataclasses.dataclass(frozen=True, eq=False, slots=True)
class Opaque:
    """Stands for a class, function or object that is not built. Calling it returns itself."""

    name: str


_OBJECT, _SET = Opaque("an object"), Opaque("a set")


def read(
    stream: BinaryIO,
    names: Mapping[tuple[str, str], Any],
    persistent: Callable[[tuple], Any],
    *,
    max_steps: int | None = None,
) -> Any:
    """The value of one pickle.

    Args:
        stream: file at the beginning of the pickle; afterwards just after its end.
        names: {(module, name): value}. Functions among them may be called by the pickle, and must
            check their arguments. All other names become `Opaque`.
        persistent: maps a persistent id, a tuple of at most `MAX_NAME` items, to a value.
        max_steps: limit of opcodes and elements; default: `MAX_STEPS`.

    Returns:
        The value, of the kinds that the module's docstring lists.
    """
    machine = _Machine(names, persistent, MAX_STEPS if max_steps is None else max_steps)
    for opcode, argument in _opcodes(stream):
        machine.step(opcode, argument)
    return machine.result()


def pairs(items: list) -> dict:
    """A dict from alternating keys and values, without keys that are neither text nor numbers.

    Only objects have such keys, and files can be crafted so that hashing them takes forever.
    """
    if len(items) % 2:
        raise ValueError("This is not a valid pickle: a key lacks its value.")
    keys_and_values = zip(items[::2], items[1::2], strict=True)
    return {key: value for key, value in keys_and_values if _is_key(key)}


def _is_key(value):
    # Integers below 2**61 - 1 are their own hash; larger ones can be made to collide.
    return isinstance(value, str | bytes) or (type(value) is int and abs(value) < 2**60)


def _opcodes(stream):
    """(opcode, argument) of a pickle, up to its end."""
    try:
        for opcode, argument, _ in pickletools.genops(_Limited(stream)):
            if opcode.name != "STOP":
                yield opcode, argument
    except (ValueError, IndexError, OverflowError) as error:
        raise ValueError(f"This is not a complete, valid pickle: {error}.") from None


class _Limited:
    """A stream that returns a limited number of bytes, in pieces of limited size."""

    def __init__(self, stream):
        self._stream = stream
        self._left = MAX_PICKLE_BYTES
        self.tell = stream.tell

    def read(self, size):
        if not 0 <= size <= MAX_STRING_BYTES:
            raise ValueError(f"a string of {size} bytes is longer than {MAX_STRING_BYTES}")
        return self._count(self._stream.read(size))

    def readline(self):
        line = self._count(self._stream.readline(MAX_NAME))
        if b"\\" in line:
            raise ValueError("a name holds a backslash")
        return line

    def _count(self, data):
        self._left -= len(data)
        if self._left < 0:
            raise ValueError(f"it is longer than {MAX_PICKLE_BYTES} bytes")
        return data


class _Machine:
    """The stack and the memo. `pickletools` knows what each opcode takes from the stack."""

    def __init__(self, names, persistent, max_steps):
        self._names = dict(names)
        self._persistent = persistent
        self._stack = []
        self._memo = {}
        self._left = self._max_steps = max_steps
        self._results = _RESULTS | {
            "BINPUT": self._put,
            "LONG_BINPUT": self._put,
            "MEMOIZE": self._memoize,
            "BINGET": self._get,
            "LONG_BINGET": self._get,
            "GLOBAL": lambda name: self._global(*name.split(" ", 1)),
            "STACK_GLOBAL": self._global,
            "REDUCE": self._call,
            "BINPERSID": self._reference,
        }

    def step(self, opcode, argument):
        """Replaces the operands of an opcode by its result."""
        self._spend(1)
        if opcode.name not in self._results:
            raise ValueError(f"The pickle opcode {opcode.name} is not supported in checkpoints.")
        operands = [
            self._pop_to_mark() if kind is pickletools.stackslice else self._pop()
            for kind in reversed(opcode.stack_before)
            if kind is not pickletools.markobject
        ]
        if opcode.arg is not None:
            operands.append(argument)
        result = self._results[opcode.name](*reversed(operands))
        if opcode.stack_after:
            self._stack.append(result)

    def result(self):
        if len(self._stack) != 1 or self._stack[0] is _MARK:
            raise ValueError("This is not a valid pickle: it leaves no single value.")
        return self._stack[0]

    def _spend(self, steps):
        """Counts everything that takes time, including elements that the memo repeats."""
        self._left -= steps
        if self._left < 0:
            raise ValueError(f"The pickle takes more than {self._max_steps} steps.")

    def _pop(self):
        if not self._stack or self._stack[-1] is _MARK:
            raise ValueError("This is not a valid pickle: its stack runs empty.")
        return self._stack.pop()

    def _pop_to_mark(self):
        for index in range(len(self._stack) - 1, -1, -1):
            if self._stack[index] is _MARK:
                items = self._stack[index + 1 :]
                del self._stack[index:]
                self._spend(len(items))
                return items
        raise ValueError("This is not a valid pickle: a mark is missing.")

    def _put(self, index):
        self._memo[index] = self._pop()
        self._stack.append(self._memo[index])

    def _memoize(self, value):
        self._memo[len(self._memo)] = value
        return value

    def _get(self, index):
        if index not in self._memo:
            raise ValueError(f"This is not a valid pickle: its memo has no {index}.")
        return self._memo[index]

    def _global(self, module, name):
        if max(len(_expect(part, str)) for part in (module, name)) > MAX_NAME:
            raise ValueError(f"A name is longer than {MAX_NAME} characters.")
        if (module, name) not in self._names:
            self._spend(4)
            self._names[module, name] = Opaque(f"{module}.{name}")
        return self._names[module, name]

    def _call(self, function, arguments):
        _expect(arguments, tuple)
        if not callable(function):
            return _opaque(function)
        self._spend(_length(arguments) + sum(map(_length, arguments)))
        try:
            return function(*arguments)
        except TypeError as error:
            raise ValueError(f"This is not a valid pickle: {error}.") from None

    def _reference(self, identity):
        if len(_expect(identity, tuple)) > MAX_NAME:
            raise ValueError("The file has an external reference that is not a storage.")
        self._spend(len(identity))
        return self._persistent(identity)


def _expect(value, *kinds):
    if not isinstance(value, kinds):
        raise ValueError(f"This is not a valid pickle: {type(value).__name__} is out of place.")
    return value


def _length(value):
    return len(value) if isinstance(value, list | tuple | dict) else 1


def _opaque(function):
    return function if isinstance(function, Opaque) else _OBJECT


def _constant(value):
    if isinstance(value, int) and value.bit_length() > 8 * MAX_INTEGER_BYTES:
        raise ValueError(f"A number has more than {MAX_INTEGER_BYTES} bytes.")
    return value


def _check_protocol(version):
    if version not in PROTOCOLS:
        raise ValueError(f"Pickle protocol {version} is not supported.")


def _extend(target, items):
    if isinstance(_expect(target, list, Opaque), list):
        target.extend(items)
    return target


def _update(target, items):
    if isinstance(_expect(target, dict, Opaque), dict):
        target.update(pairs(items))
    return target


# Checkpoints use protocol 2, from Python 2 or 3; the opcodes of later ones do no harm.
_CONSTANTS = (
    "BININT BININT1 BININT2 LONG1 LONG4 BINFLOAT BINSTRING SHORT_BINSTRING BINUNICODE "
    "SHORT_BINUNICODE BINUNICODE8 BINBYTES SHORT_BINBYTES BINBYTES8 BYTEARRAY8"
)
_RESULTS = dict.fromkeys(_CONSTANTS.split(), _constant) | {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_TUPLE": tuple,
    "EMPTY_LIST": list,
    "EMPTY_DICT": dict,
    "EMPTY_SET": lambda: _SET,
    "PROTO": _check_protocol,
    "FRAME": lambda length: None,
    "MARK": lambda: _MARK,
    "POP": lambda value: None,
    "POP_MARK": lambda values: None,
    "TUPLE1": lambda *items: items,
    "TUPLE2": lambda *items: items,
    "TUPLE3": lambda *items: items,
    "TUPLE": tuple,
    "FROZENSET": lambda items: _SET,
    "APPEND": lambda target, item: _extend(target, [item]),
    "APPENDS": _extend,
    "SETITEM": lambda target, key, value: _update(target, [key, value]),
    "SETITEMS": _update,
    "ADDITEMS": lambda target, items: _expect(target, Opaque),
    "NEWOBJ": lambda kind, arguments: _opaque(kind),
    "NEWOBJ_EX": lambda kind, arguments, options: _opaque(kind),
    "BUILD": lambda target, state: _expect(target, dict, Opaque),  # PyTorch's `_metadata`
}
"""The result of each opcode, from its operands, of those that need neither memo nor names."""
