"""A reader of pickles that runs nothing: a small machine for the opcodes that checkpoints use.

It builds dicts, lists, tuples, strings, bytes, numbers, booleans and None, and the results of the
caller's own builders. A name in the file (`os.system`) is only looked up in the caller's table; any
other name becomes an `Opaque`, as does everything made from it: no module is imported, no attribute
is read, nothing is called. Libraries for this task (PyTorch's `weights_only`, fickling) need
PyTorch, or first check and then unpickle; and none bounds time and memory.
"""

import dataclasses
import pickletools
from collections.abc import Callable

MAX_PICKLE_BYTES = 24 * 2**20
MAX_STRING_BYTES = 8 * 2**20
MAX_INTEGER_BYTES = 16
MAX_NAME = 200
MAX_STEPS = 400_000
"""Limit of opcodes and elements they touch; the state of a ResNet-50 takes about 20,000."""

PROTOCOLS = range(2, 6)
_MARK = object()


@dataclasses.dataclass(frozen=True, eq=False)
class Builder:
    """A function that a pickle may call: `build(*arguments)`, which must check its arguments."""

    build: Callable


@dataclasses.dataclass(frozen=True, eq=False, slots=True)
class Opaque:
    """Stands for a class, function or object that is not built. Calling it returns itself."""

    name: str


def read(stream, names, persistent, *, max_steps=None):
    """The value of one pickle.

    Args:
        stream: binary file at the beginning of the pickle; afterwards just after its end.
        names: {(module, name): value}. All other names become `Opaque`.
        persistent: function from a persistent id, a tuple of at most `MAX_NAME` items, to a value.
        max_steps: limit of opcodes and elements; default: `MAX_STEPS`.

    Returns:
        The value, of the kinds that the module's docstring lists.

    Raises:
        ValueError: for anything but a pickle, or one that takes too many steps.
    """
    machine = _Machine(names, persistent, MAX_STEPS if max_steps is None else max_steps)
    for opcode, argument in _opcodes(stream):
        machine.step(opcode, argument)
    return machine.result()


def _opcodes(stream):
    try:
        for opcode, argument, _ in pickletools.genops(_Limited(stream)):
            yield opcode.name, argument
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
    """The stack, the memo and one method for each kind of opcode."""

    def __init__(self, names, persistent, max_steps):
        self._names = dict(names)
        self._persistent = persistent
        self._stack = []
        self._memo = {}
        self._steps, self._max_steps = 0, max_steps

    def step(self, opcode, argument):
        self._spend(1)
        if opcode in _PUSHES_ARGUMENT:
            self._push_argument(argument)
        elif opcode in _PUSHES:
            self._stack.append(_PUSHES[opcode]())
        elif opcode in _ACTIONS:
            _ACTIONS[opcode](self, argument)
        else:
            raise ValueError(f"The pickle opcode {opcode} is not supported in checkpoints.")

    def result(self):
        if len(self._stack) != 1 or self._stack[0] is _MARK:
            raise ValueError("This is not a valid pickle: it leaves no single value.")
        return self._stack[0]

    def _spend(self, steps):
        """Counts everything that takes time, including elements that the memo repeats."""
        self._steps += steps
        if self._steps > self._max_steps:
            raise ValueError(f"The pickle takes more than {self._max_steps} steps.")

    def _push_argument(self, argument):
        if isinstance(argument, int) and argument.bit_length() > 8 * MAX_INTEGER_BYTES:
            raise ValueError(f"A number has more than {MAX_INTEGER_BYTES} bytes.")
        self._stack.append(argument)

    def _pop(self, kind=object):
        if not self._stack or self._stack[-1] is _MARK:
            raise ValueError("This is not a valid pickle: its stack runs empty.")
        if not isinstance(self._stack[-1], kind):
            raise ValueError(
                f"This is not a valid pickle: {_kind(self._stack[-1])} is out of place."
            )
        return self._stack.pop()

    def _pop_to_mark(self):
        for index in range(len(self._stack) - 1, -1, -1):
            if self._stack[index] is _MARK:
                items = self._stack[index + 1 :]
                del self._stack[index:]
                self._spend(len(items))
                return items
        raise ValueError("This is not a valid pickle: a mark is missing.")

    def _protocol(self, version):
        if version not in PROTOCOLS:
            raise ValueError(f"Pickle protocol {version} is not supported.")

    def _nothing(self, argument):
        pass

    def _mark(self, _):
        self._stack.append(_MARK)

    def _discard(self, _):
        if not self._stack:
            raise ValueError("This is not a valid pickle: its stack runs empty.")
        self._stack.pop()

    def _discard_to_mark(self, _):
        self._pop_to_mark()

    def _duplicate(self, _):
        self._stack.append(self._top())

    def _put(self, index):
        self._memo[len(self._memo) if index is None else index] = self._top()

    def _get(self, index):
        if index not in self._memo:
            raise ValueError(f"This is not a valid pickle: its memo has no {index}.")
        self._stack.append(self._memo[index])

    def _top(self, kind=object):
        value = self._pop(kind)
        self._stack.append(value)
        return value

    def _tuple(self, size):
        items = [self._pop() for _ in range(size)]
        self._stack.append(tuple(reversed(items)))

    def _marked_tuple(self, _):
        self._stack.append(tuple(self._pop_to_mark()))

    def _marked_list(self, _):
        self._stack.append(self._pop_to_mark())

    def _marked_dict(self, _):
        self._stack.append(pairs(self._pop_to_mark()))

    def _marked_set(self, _):
        self._pop_to_mark()
        self._stack.append(_SET)

    def _append(self, _):
        item = self._pop()
        self._extend([item])

    def _appends(self, _):
        self._extend(self._pop_to_mark())

    def _extend(self, items):
        target = self._top((list, Opaque))
        if isinstance(target, list):
            target.extend(items)

    def _set_item(self, _):
        value, key = self._pop(), self._pop()
        self._update([key, value])

    def _set_items(self, _):
        self._update(self._pop_to_mark())

    def _update(self, items):
        target = self._top((dict, Opaque))
        if isinstance(target, dict):
            target.update(pairs(items))

    def _add_items(self, _):
        self._pop_to_mark()
        self._top(Opaque)

    def _global(self, argument):
        self._push_name(*argument.split(" ", 1))

    def _stack_global(self, _):
        name, module = self._pop(str), self._pop(str)
        if max(len(name), len(module)) > MAX_NAME:
            raise ValueError(f"A name is longer than {MAX_NAME} characters.")
        self._push_name(module, name)

    def _push_name(self, module, name):
        if (module, name) not in self._names:
            self._spend(4)
            self._names[module, name] = Opaque(f"{module}.{name}")
        self._stack.append(self._names[module, name])

    def _reduce(self, _):
        arguments, function = self._pop(tuple), self._pop()
        if not isinstance(function, Builder):
            self._stack.append(_opaque(function))
            return
        self._spend(_length(arguments) + sum(map(_length, arguments)))
        try:
            self._stack.append(function.build(*arguments))
        except TypeError as error:
            raise ValueError(f"This is not a valid pickle: {error}.") from None

    def _new_object(self, _):
        self._pop()
        self._stack.append(_opaque(self._pop()))

    def _new_object_by_name(self, _):
        self._pop()
        self._new_object(_)

    def _build(self, _):
        """Drops the state of an object; that of a dict is PyTorch's `_metadata`."""
        self._pop()
        self._top((dict, Opaque))

    def _persistent_id(self, _):
        identity = self._pop(tuple)
        if len(identity) > MAX_NAME:
            raise ValueError("The file has an external reference that is not a storage.")
        self._spend(len(identity))
        self._stack.append(self._persistent(identity))


def pairs(items):
    """A dict from alternating keys and values, without keys that are neither text nor numbers.

    Only objects have such keys, and files can be crafted so that hashing them takes forever.

    Raises:
        ValueError: if a value is missing.
    """
    if len(items) % 2:
        raise ValueError("This is not a valid pickle: a key lacks its value.")
    keys_and_values = zip(items[::2], items[1::2], strict=True)
    return {key: value for key, value in keys_and_values if _is_key(key)}


def _is_key(value):
    # Integers below 2**61 - 1 are their own hash; larger ones can be made to collide.
    return isinstance(value, str | bytes) or (type(value) is int and abs(value) < 2**60)


def _length(value):
    return len(value) if isinstance(value, list | tuple | dict) else 1


def _opaque(function):
    return function if isinstance(function, Opaque) else _OBJECT


def _kind(value):
    return "a mark" if value is _MARK else type(value).__name__


_OBJECT, _SET = Opaque("an object"), Opaque("a set")

# Checkpoints use protocol 2, from Python 2 or 3; the opcodes of later ones do no harm.
_PUSHES_ARGUMENT = frozenset(
    "BININT BININT1 BININT2 LONG1 LONG4 BINFLOAT BINSTRING SHORT_BINSTRING BINUNICODE "
    "SHORT_BINUNICODE BINUNICODE8 BINBYTES SHORT_BINBYTES BINBYTES8 BYTEARRAY8".split()
)
_PUSHES = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_TUPLE": tuple,
    "EMPTY_LIST": list,
    "EMPTY_DICT": dict,
    "EMPTY_SET": lambda: _SET,
}
_ACTIONS = {
    "PROTO": _Machine._protocol,
    "FRAME": _Machine._nothing,
    "STOP": _Machine._nothing,
    "MARK": _Machine._mark,
    "POP": _Machine._discard,
    "POP_MARK": _Machine._discard_to_mark,
    "DUP": _Machine._duplicate,
    "BINPUT": _Machine._put,
    "LONG_BINPUT": _Machine._put,
    "MEMOIZE": _Machine._put,
    "BINGET": _Machine._get,
    "LONG_BINGET": _Machine._get,
    "TUPLE1": lambda machine, _: machine._tuple(1),
    "TUPLE2": lambda machine, _: machine._tuple(2),
    "TUPLE3": lambda machine, _: machine._tuple(3),
    "TUPLE": _Machine._marked_tuple,
    "LIST": _Machine._marked_list,
    "DICT": _Machine._marked_dict,
    "FROZENSET": _Machine._marked_set,
    "APPEND": _Machine._append,
    "APPENDS": _Machine._appends,
    "SETITEM": _Machine._set_item,
    "SETITEMS": _Machine._set_items,
    "ADDITEMS": _Machine._add_items,
    "GLOBAL": _Machine._global,
    "STACK_GLOBAL": _Machine._stack_global,
    "REDUCE": _Machine._reduce,
    "NEWOBJ": _Machine._new_object,
    "NEWOBJ_EX": _Machine._new_object_by_name,
    "BUILD": _Machine._build,
    "BINPERSID": _Machine._persistent_id,
}
