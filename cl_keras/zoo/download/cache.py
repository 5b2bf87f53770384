"""Downloaded files, each checked by its hash whenever it is opened, shared by all processes.

<CL_KERAS_CACHE, else ~/.cache/cl_keras>/zoo/<name>/<of address and hash>/
    <file>          whole and checked, or not there
    part            unfinished; the next call goes on from it
    pin.json        the hash of a first download, where its authors publish none
    lock            held by the process that downloads
"""

import contextlib
import dataclasses
import fcntl
import hashlib
import json
import os
import pathlib

from absl import logging

from cl_keras.files import replacing, sha256, write_atomically
from cl_keras.zoo.cards import addresses, names, schema
from cl_keras.zoo.download import http, hub

RESERVED = ("part", "part.validator", "pin.json", "lock", "converted.npz", "converted.json")


def root():
    """The folder of all that the zoo downloads."""
    given = os.environ.get("CL_KERAS_CACHE")
    if given:
        return pathlib.Path(given).expanduser().absolute() / "zoo"
    home = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
    return pathlib.Path(home).absolute() / "cl_keras" / "zoo"


def is_offline():
    """Whether `CL_KERAS_OFFLINE` forbids the network."""
    return os.environ.get("CL_KERAS_OFFLINE", "").lower() not in ("", "0", "false", "no")


def folder_of(name, file, address):
    """The folder of a file of an entry, made if it is not there.

    Raises:
        ValueError: if a symbolic link stands in its place.
        OSError: if it cannot be made.
    """
    content = f"{address}\n{file.sha256 or ''}".encode()
    folder = root() / names.check_name(name) / hashlib.sha256(content).hexdigest()[:16]
    for path in (folder.parent, folder):
        _refuse_link(path)
        path.mkdir(parents=True, exist_ok=True)
    return folder


def fetch(name, file, address, *, limits=None, progress=True):
    """A file of an entry from the cache, or from its address.

    Eight processes that ask at once download it once. What was killed midway is gone on with.

    Args:
        name: of the entry.
        file: its `cards.File`.
        address: https://…, hf://…, or http:// on this machine.
        limits: `http.Limits`.
        progress: show a progress bar.

    Returns:
        `pathlib.Path` of a file whose hash was checked just now.

    Raises:
        ValueError: if what came is not that file; nothing of it is left.
        OSError: if it cannot be had, or the network is forbidden.
    """
    folder = folder_of(name, file, address)
    with locked(folder):
        path, pin = folder / _file_name(file, address), folder / "pin.json"
        wanted = ExpectedFile.of(file, pin)
        if path.exists() or path.is_symlink():
            if not (problem := wanted.mismatch_at(path)):
                return path
            path.unlink()
            logging.warning("Removed %s from the cache: %s.", path, problem)
        if is_offline():
            raise OSError(
                f"{name} is not in the cache ({folder}), and CL_KERAS_OFFLINE forbids to download "
                f"it from {address}. Unset it, or copy the cache of another machine."
            )
        part = folder / "part"
        known = {"size": wanted.size, "anchored": wanted.sha256 is not None}
        retrieve(address, part, **known, limits=limits, progress=progress)
        _commit(part, path, wanted, address)
        if file.sha256 is None and not pin.exists():
            found = {"address": address, "sha256": sha256(path), "size": path.stat().st_size}
            write_atomically(pin, json.dumps(found, indent=2) + "\n")
    return path


def retrieve(address, part, **how):
    """Brings what an address has to an unfinished file; `how` as for `http.download`."""
    _refuse_link(part)
    if address.startswith("hf://"):
        hub.download(address, part)
    else:
        http.download(address, part, **how)


def _commit(part, path, wanted, address):
    problem = wanted.mismatch_at(part)
    part.with_name("part.validator").unlink(missing_ok=True)
    if problem:
        part.unlink(missing_ok=True)
        raise ValueError(f"What came from {address} is not the file of the card: {problem}.")
    with replacing(path) as temporary:
        os.replace(part, temporary)


@dataclasses.dataclass(frozen=True)
class ExpectedFile:
    """What a file must be."""

    size: int | None
    sha256: str | None
    prefix: str | None

    @classmethod
    def of(cls, file, pin=None):
        """By its `cards.File`, and by what was pinned at the first download."""
        size, expected = file.size, file.sha256
        if expected is None and pin is not None and pin.exists():
            _refuse_link(pin)
            pinned = schema.read(_Pin, schema.parse_json(pin.read_bytes(), str(pin)), str(pin))
            size, expected = pinned.size, pinned.sha256
        return cls(size, expected, file.sha256_prefix)

    def mismatch_at(self, path):
        """What is wrong with a file, in words, or None."""
        if path.is_symlink() or not path.is_file():
            return "it is no plain file"
        with open(path, "rb") as stream:
            return self.mismatch(stream)

    def mismatch(self, stream):
        """What is wrong with an open file, in words, or None; the stream is at its start again."""
        size = os.fstat(stream.fileno()).st_size
        if self.size is not None and size != self.size:
            return f"expected {self.size} bytes, received {size}"
        received = hashlib.file_digest(stream, "sha256").hexdigest()
        stream.seek(0)
        if self.sha256 is not None and received != self.sha256:
            return f"expected SHA-256 {self.sha256}, received {received}"
        if self.prefix is not None and not received.startswith(self.prefix):
            return f"expected a SHA-256 that begins {self.prefix}, received {received}"
        return None


@dataclasses.dataclass(frozen=True)
class _Pin:
    address: str
    sha256: str
    size: int


@contextlib.contextmanager
def open_verified(path, wanted):
    """A file that was checked by its hash, open, so that no other can take its place meanwhile.

    Raises:
        ValueError: if it is another file than `wanted`, or a symbolic link.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        if os.path.islink(path):
            raise ValueError(f"{path} is a symbolic link, which the zoo does not follow.") from None
        raise error
    with os.fdopen(descriptor, "rb") as stream:
        if problem := wanted.mismatch(stream):
            raise ValueError(f"{path} is not the file that its card names: {problem}.")
        yield stream


@contextlib.contextmanager
def locked(folder):
    """Waits until no other process works in `folder`; one that is killed lets go by itself."""
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    _refuse_link(folder / "lock")
    descriptor = os.open(folder / "lock", flags, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _file_name(file, address):
    """That of the address where it is plain, so that its ending is kept."""
    last = addresses.last_segment(address)
    try:
        names.check_relative_path(last)
    except ValueError:
        return file.kind
    return file.kind if last in RESERVED else last


def _refuse_link(path):
    if path.is_symlink():
        raise ValueError(f"{path} is a symbolic link, which the zoo does not follow; remove it.")
