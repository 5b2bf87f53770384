"""Reads the bytes of a file by offset, in Python or in a graph, with the same results.

Bytes beyond the end read as 0, and the highest of four bytes is capped at `TOP`, so arithmetic on
offsets never overflows int32 and no access fails.
"""

import io

import tensorflow as tf

TOP = 63  # maximum of the highest of four bytes
MAX_NUMBER = 2**30 - 1
HEAD = 4096  # bytes at the beginning that are read at once
MAX_READ = 16  # bytes at one offset


_as_it_is = tf.autograph.experimental.do_not_convert  # no branches inside, so faster to trace


class FileBytes:
    """The bytes of a file, for parsers that run in Python.

    Args:
        file: bytes, or a seekable binary file, which is read only as needed.
    """

    def __init__(self, file):
        self._file = io.BytesIO(file) if isinstance(file, bytes) else file
        self.size = min(self._file.seek(0, io.SEEK_END), MAX_NUMBER)
        self._file.seek(0)
        self._head = self._file.read(HEAD)

    def number(self, at, length, big=False):
        """The unsigned integer of `length` bytes at an offset, big-endian or little-endian."""
        octets = self._read(at, length).ljust(length, b"\0")
        value = int.from_bytes(octets, "big" if big else "little")
        return value if value <= MAX_NUMBER else TOP << 24 | value & 0xFFFFFF

    def has(self, at, expected):
        """Whether the expected bytes are at an offset."""
        return self._read(at, len(expected)) == expected

    def _read(self, at, length):
        if at + length <= len(self._head):
            return self._head[at : at + length]
        if at >= self.size:
            return b""
        self._file.seek(at)
        return self._file.read(length)

    def pick(self, condition, if_true, if_false):
        """One of two integers."""
        return if_true if condition else if_false

    def gather(self, values, index):
        """One of several integers."""
        return values[index]

    minimum = staticmethod(min)
    maximum = staticmethod(max)


class GraphBytes:
    """The same for a scalar string tensor; all numbers are int32 scalars.

    Args:
        contents: string `[]`.
    """

    def __init__(self, contents):
        self.contents = contents
        self.size = tf.minimum(tf.strings.length(contents), MAX_NUMBER)
        # Reads beyond the end give zeros.
        self._padded = tf.strings.join([contents, b"\0" * MAX_READ])

    @_as_it_is
    def number(self, at, length, big=False):
        octets = tf.cast(tf.io.decode_raw(self._read(at, length), tf.uint8), tf.int32)
        if length == 1:
            return octets[0]
        if big is not False:
            octets = octets[::-1] if big is True else tf.where(big, octets[::-1], octets)
        octets = tf.minimum(octets, [255, 255, 255, TOP][:length])
        return tf.reduce_sum(octets * [256**i for i in range(length)])

    @_as_it_is
    def has(self, at, expected):
        return self._read(at, len(expected)) == expected

    @_as_it_is
    def _read(self, at, length):
        return tf.strings.substr(self._padded, tf.clip_by_value(at, 0, self.size), length)

    @_as_it_is
    def pick(self, condition, if_true, if_false):
        return tf.where(condition, if_true, if_false)

    @_as_it_is
    def gather(self, values, index):
        return tf.gather(tf.constant(values), index)

    minimum = staticmethod(tf.minimum)
    maximum = staticmethod(tf.maximum)
