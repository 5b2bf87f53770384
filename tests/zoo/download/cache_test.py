import hashlib
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import time

import pytest

from cl_keras import locks
from cl_keras.zoo.download import cache, http
from tests.zoo import server as answers
from tests.zoo.examples import CONTENT, file_of, foreign_file

NAME = "simclr_small_resnet_photos"
FAST = http.Limits(timeout=1.0, attempts=2, pause=0.01)
OTHER = b"x" + CONTENT[1:]


def fetch(server, path="/encoder.safetensors", file=None, name=NAME):
    file = file or file_of(CONTENT)
    options = {"limits": FAST, "progress": False}
    with cache.open_fetched(name, file, server.address + path, **options) as (stream, sha256):
        assert sha256 == hashlib.sha256(stream.read()).hexdigest()
        return pathlib.Path(stream.name)


def left(folder):
    """Names of all files in the cache except locks."""
    paths = (path for path in folder.rglob("*") if not path.is_dir() and path.name != "lock")
    return sorted(path.name for path in paths)


def test_a_file_is_downloaded_once_and_its_hash_checked_every_time(server, cache_folder):
    server.answers["/encoder.safetensors"] = CONTENT
    path = fetch(server)
    assert path.read_bytes() == CONTENT and path.is_relative_to(cache_folder / NAME)
    assert fetch(server) == path and len(server.requests) == 1
    assert left(cache_folder) == ["encoder.safetensors"]


def test_a_wrong_hash_is_named_and_nothing_is_left(server, cache_folder):
    server.answers["/encoder.safetensors"] = OTHER
    with pytest.raises(ValueError, match="not the file of the card: expected SHA-256") as error:
        fetch(server)
    assert hashlib.sha256(OTHER).hexdigest() in str(error.value)
    assert file_of(CONTENT).sha256 in str(error.value) and server.address in str(error.value)
    assert left(cache_folder) == []


def test_a_resumed_download_of_another_file_is_detected_by_its_hash(server, cache_folder):
    """Half of another file, and the right rest."""
    server.answers["/encoder.safetensors"] = answers.then(
        answers.dropping(OTHER, at=1000), answers.file(CONTENT)
    )
    with pytest.raises(ValueError, match="expected SHA-256"):
        fetch(server)
    assert left(cache_folder) == []
    assert fetch(server).read_bytes() == CONTENT


@pytest.mark.parametrize("harm", ["flip", "truncate", "empty", "longer"])
def test_a_file_damaged_in_the_cache_is_downloaded_again(server, harm, caplog):
    server.answers["/encoder.safetensors"] = CONTENT
    path = fetch(server)
    bad = {"flip": OTHER, "truncate": CONTENT[:-1], "empty": b"", "longer": CONTENT + b"x"}[harm]
    path.write_bytes(bad)
    assert fetch(server).read_bytes() == CONTENT
    assert len(server.requests) == 2
    path.write_bytes(bad)
    os.environ["CL_KERAS_OFFLINE"] = "1"
    try:
        with pytest.raises(OSError, match="forbids to download"):
            fetch(server)
    finally:
        del os.environ["CL_KERAS_OFFLINE"]
    assert not path.exists()


def test_offline_nothing_is_requested(server, monkeypatch):
    server.answers["/encoder.safetensors"] = CONTENT
    monkeypatch.setenv("CL_KERAS_OFFLINE", "1")
    with pytest.raises(OSError, match="CL_KERAS_OFFLINE forbids .* copy the cache"):
        fetch(server)
    assert not server.requests
    monkeypatch.setenv("CL_KERAS_OFFLINE", "0")
    path = fetch(server)
    monkeypatch.setenv("CL_KERAS_OFFLINE", "1")
    assert fetch(server) == path and len(server.requests) == 1


def test_without_a_published_hash_the_first_download_is_trusted(server, cache_folder):
    server.answers["/a.pth"] = CONTENT
    file = foreign_file("https://example.org/a.pth")
    path = fetch(server, "/a.pth", file)
    assert path.name == "a.pth" and left(cache_folder) == ["a.pth", "pin.json"]
    pin = json.loads((path.parent / "pin.json").read_text())
    assert pin["sha256"] == hashlib.sha256(CONTENT).hexdigest() and pin["size"] == len(CONTENT)
    assert cache.pinned(file, path.parent).sha256 == pin["sha256"]

    path.unlink()
    server.answers["/a.pth"] = OTHER
    with pytest.raises(ValueError, match="expected SHA-256"):
        fetch(server, "/a.pth", file)
    assert left(cache_folder) == ["pin.json"]
    server.answers["/a.pth"] = CONTENT
    assert fetch(server, "/a.pth", file).read_bytes() == CONTENT


@pytest.mark.parametrize(
    "pin", ["", "{}", "[]", '{"address": "", "sha256": 1, "size": 1}', "\x00", "null"]
)
def test_a_broken_pin_is_not_ignored(server, pin):
    server.answers["/a.pth"] = CONTENT
    file = foreign_file("https://example.org/a.pth")
    path = fetch(server, "/a.pth", file)
    written = (path.parent / "pin.json").read_text()
    without = re.sub('"sha256": "[0-9a-f]{64}"', '"sha256": null', written)
    (path.parent / "pin.json").write_text(without if pin == "null" else pin)
    with pytest.raises(ValueError, match="pin.json"):
        fetch(server, "/a.pth", file)


def test_the_prefix_of_a_hash_is_checked(server, cache_folder):
    server.answers["/a.pth"] = CONTENT
    right = hashlib.sha256(CONTENT).hexdigest()[:8]
    path = fetch(server, "/a.pth", foreign_file("https://a.org/a.pth", sha256_prefix=right))
    assert path.read_bytes() == CONTENT
    with pytest.raises(ValueError, match="begins 00000000, received"):
        fetch(server, "/a.pth", foreign_file("https://a.org/a.pth", sha256_prefix="0" * 8), "a_b")
    assert left(cache_folder / "a_b") == []


@pytest.mark.parametrize("path", ["/pin.json", "/partial", "/lock", "/.hidden", "/%2e%2e", "/a b"])
def test_the_address_cannot_choose_a_reserved_name(server, path, cache_folder):
    assert cache._file_name(file_of(CONTENT), f"https://example.org{path}") == "encoder"


@pytest.mark.parametrize("name", ["..", "../a", "/etc", "a_b/../c", ""])
def test_no_name_leads_outside_the_cache(server, name, tmp_path):
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(ValueError, match="name of a zoo entry"):
        fetch(server, name=name)
    assert sorted(tmp_path.rglob("*")) == before and not server.requests


@pytest.mark.parametrize("what", ["entry", "folder", "file", "partial", "lock", "pin.json"])
def test_a_link_in_the_cache_is_not_followed(server, what, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    precious = outside / "precious"
    precious.write_bytes(OTHER)
    server.answers["/a.pth"] = CONTENT
    file = foreign_file("https://example.org/a.pth")
    folder = cache.folder_of(NAME, file, server.address + "/a.pth")
    folder.mkdir(parents=True)
    if what in ("entry", "folder"):
        place = folder.parent if what == "entry" else folder
        folder.rmdir()
        if what == "entry":
            folder.parent.rmdir()
        place.symlink_to(outside)
    else:
        (folder / ("a.pth" if what == "file" else what)).symlink_to(precious)
    if what == "file":
        assert fetch(server, "/a.pth", file).read_bytes() == CONTENT
        assert not (folder / "a.pth").is_symlink()
    else:
        with pytest.raises(ValueError, match="is a symbolic link, which the zoo does not follow"):
            fetch(server, "/a.pth", file)
    assert precious.read_bytes() == OTHER and os.listdir(outside) == ["precious"]


def test_the_opened_file_is_the_one_that_was_checked(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(CONTENT)
    with cache.open_verified(path, file_of(CONTENT)) as (stream, _):
        os.replace(_written(tmp_path / "b", OTHER), path)
        assert stream.read() == CONTENT
    with pytest.raises(ValueError, match="is not the file that its card names"):
        with cache.open_verified(path, file_of(CONTENT)):
            pass
    (tmp_path / "c").symlink_to(path)
    with pytest.raises(ValueError, match="symbolic link"):
        with cache.open_verified(tmp_path / "c", file_of(OTHER)):
            pass


def _written(path, content):
    path.write_bytes(content)
    return path


def start(server, count):
    """Starts processes that wait for a line before they download."""
    file = file_of(CONTENT)
    arguments = [f"{server.address}/encoder.safetensors", str(file.size), file.sha256]
    command = [sys.executable, "-m", "tests.zoo.light", *arguments]
    root = pathlib.Path(__file__).parents[3]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    processes = [subprocess.Popen(command, cwd=root, **pipes) for _ in range(count)]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    return processes


def go(process):
    process.stdin.write("\n")
    process.stdin.flush()


def ended(process):
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    return pathlib.Path(output.strip())


def test_eight_processes_at_once_download_once(server, cache_folder):
    server.answers["/encoder.safetensors"] = answers.slow(CONTENT, pieces=8, seconds=0.05)
    processes = start(server, 8)
    for process in processes:
        go(process)
    paths = {ended(process) for process in processes}
    assert len(paths) == 1 and paths.pop().read_bytes() == CONTENT
    assert len(server.requests) == 1
    assert left(cache_folder) == ["encoder.safetensors"]


def test_a_process_killed_midway_does_no_harm(server, cache_folder):
    server.answers["/encoder.safetensors"] = answers.then(
        answers.slow(CONTENT, pieces=4, seconds=0.5), answers.file(CONTENT)
    )
    killed, *others = start(server, 3)
    go(killed)
    while not any(path.stat().st_size for path in cache_folder.rglob("partial")):
        time.sleep(0.01)
    for process in others:
        go(process)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    for process in others:
        assert ended(process).read_bytes() == CONTENT
    assert len(server.requests) == 2 and "Range" in server.requests[1][1]
    assert left(cache_folder) == ["encoder.safetensors"]


def test_a_pin_is_written_before_its_file_is_renamed(server, cache_folder, monkeypatch):
    """If a process is killed between the two, the next one knows the hash."""
    server.answers["/a.pth"] = CONTENT
    file = foreign_file("https://example.org/a.pth")

    class Killed(BaseException):
        pass

    def kill(*_):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(cache.os, "replace", kill)
        patch.setattr(cache, "write_atomically", lambda path, text: path.write_text(text))
        with pytest.raises(Killed):
            fetch(server, "/a.pth", file)
    assert left(cache_folder) == ["partial", "pin.json"]
    server.answers["/a.pth"] = OTHER
    (cache_folder / NAME).glob("*/partial").__next__().unlink()
    with pytest.raises(ValueError, match="expected SHA-256"):
        fetch(server, "/a.pth", file)


def test_a_file_without_a_pin_is_not_trusted(server, cache_folder):
    server.answers["/a.pth"] = CONTENT
    file = foreign_file("https://example.org/a.pth")
    path = fetch(server, "/a.pth", file)
    (path.parent / "pin.json").unlink()
    path.write_bytes(OTHER)
    assert fetch(server, "/a.pth", file).read_bytes() == CONTENT
    assert left(cache_folder) == ["a.pth", "pin.json"]


def test_the_prefix_of_an_md5_is_checked(server, cache_folder):
    server.answers["/a.pth"] = CONTENT
    right = hashlib.md5(CONTENT).hexdigest()[:8]
    path = fetch(server, "/a.pth", foreign_file("https://a.org/a.pth", md5_prefix=right))
    assert path.read_bytes() == CONTENT
    with pytest.raises(ValueError, match="an MD5 that begins 00000000, received"):
        fetch(server, "/a.pth", foreign_file("https://a.org/a.pth", md5_prefix="0" * 8), "a_b")
    assert left(cache_folder / "a_b") == []


def test_files_have_the_mode_of_the_users_umask(server, cache_folder):
    server.answers["/encoder.safetensors"] = CONTENT
    before = os.umask(0o022)
    try:
        path = fetch(server)
    finally:
        os.umask(before)
    assert {p.stat().st_mode & 0o777 for p in path.parent.iterdir()} == {0o644}


def test_a_read_only_cache_is_enough(server, cache_folder, monkeypatch):
    """Nothing is opened for writing, created or locked if the file exists and is right."""
    server.answers["/encoder.safetensors"] = server.answers["/a.pth"] = CONTENT
    file = foreign_file("https://example.org/a.pth")
    paths = fetch(server), fetch(server, "/a.pth", file)

    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    for name in ("mkdir", "replace", "unlink"):
        monkeypatch.setattr(os, name, refuse)
    monkeypatch.setattr(cache, "locked", refuse)
    assert (fetch(server), fetch(server, "/a.pth", file)) == paths


def test_an_unwritable_cache_is_explained(server, cache_folder):
    cache_folder.mkdir(parents=True)
    (cache_folder / NAME).write_text("a file in the place of the folder")
    with pytest.raises(OSError, match="cannot be written to .* Set CL_KERAS_CACHE"):
        fetch(server)


@pytest.mark.parametrize("kind", ["pipe", "folder", "device"])
def test_anything_but_a_plain_file_is_never_read(kind, tmp_path):
    path = pathlib.Path("/dev/zero") if kind == "device" else tmp_path / "a"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    expected = file_of(CONTENT)
    with pytest.raises(OSError, match="not a plain file|directory"):
        with cache.open_verified(path, expected):
            pass


def test_a_file_on_the_hub_has_the_same_bounds(server, cache_folder, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", server.address)
    monkeypatch.setenv("HF_TOKEN", "secret")
    server.answers["/owner/repository/resolve/v1/a/encoder.safetensors"] = CONTENT
    address = "hf://owner/repository@v1/a/encoder.safetensors"
    with cache.open_fetched(NAME, file_of(CONTENT), address, progress=False) as (stream, _):
        assert stream.read() == CONTENT
    assert server.requests[0][1]["Authorization"] == "Bearer secret"
    missing = "hf://owner/repository/a/encoder.safetensors"
    with pytest.raises(OSError, match="resolve/main/.* the server answered 404"):
        with cache.open_fetched(NAME, file_of(OTHER), missing, limits=FAST, progress=False):
            pass


def test_it_works_without_locks(server, monkeypatch):
    monkeypatch.setattr(locks, "fcntl", None)
    server.answers["/encoder.safetensors"] = CONTENT
    assert fetch(server).read_bytes() == CONTENT


def test_the_cache_is_in_the_chosen_folder(monkeypatch, tmp_path):
    assert cache.root() == tmp_path / "cache" / "zoo"
    monkeypatch.delenv("CL_KERAS_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache.root() == tmp_path / "xdg" / "cl_keras" / "zoo"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache.root() == tmp_path / ".cache" / "cl_keras" / "zoo"
