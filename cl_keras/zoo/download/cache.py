"""Downloaded files: fetched once, checked whenever they are opened, shared by all processes.

<CL_KERAS_CACHE, else ~/.cache/cl_keras>/zoo/<name>/
    converted-….safetensors   a checkpoint of another project, converted
<CL_KERAS_CACHE, else ~/.cache/cl_keras>/zoo/<name>/<of address and hash>/
    <file>          whole and checked, or not there
    partial         unfinished; the next call resumes it
    pin.json        the hash of the first download, where its authors publish none
    lock            held by the process that writes to the folder

What is there is used without writing anything, so a cache may be read-only, or another user's.
"""

import contextlib
import dataclasses
import hashlib
import os
import pathlib
from collections.abc import Iterator
from typing import Any, BinaryIO

from absl import logging

from cl_keras import locks
from cl_keras.files import open_plain, replacing, write_atomically
from cl_keras.zoo import cards
from cl_keras.zoo.cards import addresses, names, schema
from cl_keras.zoo.download import http, hub

RESERVED = ("partial", "partial.validator", "pin.json", "lock")
Verified = tuple[BinaryIO, str]
"""An open file, and its SHA-256, which was computed through the same descriptor."""


def root() -> pathlib.Path:
    """The folder of all that the zoo downloads."""
    given = os.environ.get("CL_KERAS_CACHE")
    if given:
        return pathlib.Path(given).expanduser().absolute() / "zoo"
    home = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
    return pathlib.Path(home).absolute() / "cl_keras" / "zoo"


def is_offline() -> bool:
    """Whether `CL_KERAS_OFFLINE` forbids the network."""
    return os.environ.get("CL_KERAS_OFFLINE", "").lower() not in ("", "0", "false", "no")


def entry_folder(name: str) -> pathlib.Path:
    """The folder of an entry, which need not exist; a symbolic link is refused."""
    folder = root() / names.check_name(name)
    refuse_link(folder)
    return folder


def folder_of(name: str, file: cards.File, address: str) -> pathlib.Path:
    """The folder of a file of an entry, which need not exist; a symbolic link is refused."""
    content = f"{address}\n{file.sha256 or ''}".encode()
    folder = entry_folder(name) / hashlib.sha256(content).hexdigest()[:16]
    refuse_link(folder)
    return folder


@contextlib.contextmanager
def open_fetched(name: str, file: cards.File, address: str, **options: Any) -> Iterator[Verified]:
    """A file of the entry `name`, open, from the cache or from its address.

    Eight processes that ask at once download it once. A killed download is resumed. The options are
    limits, progress and referrer of `http.Download`.
    """
    folder = folder_of(name, file, address)
    path = folder / _file_name(file, address)
    with contextlib.ExitStack() as stack:
        found = _open_if_right(stack, path, pinned(file, folder))
        if found is None:
            with locked(folder):
                expected = pinned(file, folder)  # another process may have pinned it
                found = _open_if_right(stack, path, expected, remove=True)
                if found is None:
                    expected = _download(name, address, path, expected, options)
                    found = stack.enter_context(open_verified(path, expected))
        yield found


def _open_if_right(stack, path, expected, *, remove=False):
    """The file, as `open_verified`, if it exists and is the expected one; else None.

    A file whose hash nobody knows, because a process was killed before it could be pinned, does
    not count.
    """
    try:
        if expected.sha256 is not None:
            return stack.enter_context(open_verified(path, expected))
        problem = f"the hash of {path} is not known" if path.exists() else None
    except FileNotFoundError:
        return None
    except PermissionError as error:
        raise OSError(
            f"{path} may not be read by this user. Ask its owner, or set CL_KERAS_CACHE to a "
            "folder of your own."
        ) from error
    except (OSError, ValueError) as error:
        problem = str(error)
    if remove and problem:
        path.unlink()
        logging.warning("Removed a file from the cache: %s", problem)
    return None


def _download(name, address, path, expected, options):
    """Downloads a file that is right, and gives it its name; returns it with its hash."""
    folder = path.parent
    if is_offline():
        raise OSError(
            f"{name} is not in the cache ({folder}), and CL_KERAS_OFFLINE forbids to download it "
            f"from {addresses.shown(address)}. Unset it, or copy the cache of another machine."
        )
    partial = folder / "partial"
    known = {"size": expected.size, "anchored": expected.sha256 is not None}
    retrieve(address, partial, **known, **options)
    with open_plain(partial, follow_links=False) as stream:
        sha256, problem = compared(stream, expected)
        size = os.fstat(stream.fileno()).st_size
    partial.with_name("partial.validator").unlink(missing_ok=True)
    if problem:
        partial.unlink(missing_ok=True)
        raise ValueError(
            f"What came from {addresses.shown(address)} is not the file of the card: {problem}."
        )
    received = dataclasses.replace(expected, sha256=sha256, size=size)
    if expected.sha256 is None:  # pinned before it gets its name, so that no kill loses the pin
        write_atomically(folder / "pin.json", schema.as_json(received))
    with replacing(path) as temporary:
        os.replace(partial, temporary)
    return received


def retrieve(address: str, partial: pathlib.Path, **options: Any) -> None:
    """Brings what an address has to an unfinished file; options as for `http.Download`."""
    refuse_link(partial)
    if address.startswith("hf://"):
        token = os.environ.get("HF_TOKEN") or None
        options |= {"token": token, "referrer": None}  # the user chose where the Hub is
        address = hub.web_address(address)
    http.Download(address, partial, **options).run()


def pinned(file: cards.File, folder: pathlib.Path) -> cards.File:
    """The file with size and hash of its first download, if its authors publish no hash."""
    path = folder / "pin.json"
    refuse_link(path)
    if file.sha256 is not None or not path.exists():
        return file
    with open_plain(path, follow_links=False) as stream:
        content = stream.read(schema.MAX_TEXT * 4)
    pin = schema.read(cards.File, content, str(path))
    if pin.sha256 is None:
        raise ValueError(f"{path} has no hash; remove it to trust the next download.")
    return dataclasses.replace(file, size=pin.size, sha256=pin.sha256)


def compared(stream: BinaryIO, expected: cards.File) -> tuple[str, str | None]:
    """(SHA-256 of an open file, its difference from what is expected or None)."""
    size = os.fstat(stream.fileno()).st_size
    if expected.size not in (None, size):
        return "", f"expected {expected.size} bytes, received {size}"
    sha256 = _digest(stream, "sha256")
    if expected.sha256 not in (None, sha256):
        return sha256, f"expected SHA-256 {expected.sha256}, received {sha256}"
    if not sha256.startswith(expected.sha256_prefix or ""):
        return sha256, f"expected a SHA-256 that begins {expected.sha256_prefix}, received {sha256}"
    if prefix := expected.md5_prefix:  # some authors publish no other hash
        md5 = _digest(stream, lambda: hashlib.md5(usedforsecurity=False))
        if not md5.startswith(prefix):
            return sha256, f"expected an MD5 that begins {prefix}, received {md5}"
    return sha256, None


def _digest(stream, kind):
    stream.seek(0)
    found = hashlib.file_digest(stream, kind).hexdigest()
    stream.seek(0)
    return found


@contextlib.contextmanager
def open_verified(path: pathlib.Path, expected: cards.File) -> Iterator[Verified]:
    """A file that was checked by its hash, open, so that no other can take its place meanwhile."""
    refuse_link(path)
    with open_plain(path, follow_links=False) as stream:
        sha256, problem = compared(stream, expected)
        if problem:
            raise ValueError(f"{path} is not the file that its card names: {problem}.")
        yield stream, sha256


@contextlib.contextmanager
def locked(folder: pathlib.Path) -> Iterator[None]:
    """Waits until no other process works in `folder`; one that is killed lets go by itself."""
    lock, waiting = folder / "lock", f"Another process writes to {folder}; waiting for it."
    refuse_link(lock)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with locks.locked(lock, on_wait=lambda: logging.warning(waiting)):
            yield
    except OSError as error:
        if error.errno is None:  # it is not of the file system, but of the network
            raise
        raise OSError(
            f"{folder} cannot be written to ({error.strerror}), and what is needed is not in it "
            "whole. Set CL_KERAS_CACHE to a folder that you may write to and that has room."
        ) from error


def _file_name(file, address):
    """That of the address where it is plain, so that its ending is kept."""
    last = addresses.last_segment(address)
    with contextlib.suppress(ValueError):
        if last not in RESERVED:
            return names.check_relative_path(last)
    return file.kind


def refuse_link(path: pathlib.Path) -> None:
    """Raises a ValueError if a symbolic link stands in the place of a file of the cache."""
    if path.is_symlink():
        raise ValueError(f"{path} is a symbolic link, which the zoo does not follow; remove it.")
