"""Versions appear complete and in order, and never change existing files."""

import os
import stat
import sys

import pytest

from cl_keras.export import versions


def writer(text):
    def build(folder):
        folder.mkdir()
        (folder / "saved_model.pb").write_text(text)

    return build


def contents(path):
    files = [p for p in path.rglob("*") if p.is_file() and p.name != versions.LOCK]
    return {str(p.relative_to(path)): p.read_text() for p in files}


def test_numbers_go_up_from_the_highest(tmp_path):
    path = tmp_path / "deep" / "below"
    assert versions.add(path, writer("a")) == path / "1"
    assert versions.add(path, writer("b")) == path / "2"
    (path / "7").mkdir()
    (path / "notes").mkdir()
    assert versions.add(path, writer("c")) == path / "8"
    assert contents(path) == {
        "1/saved_model.pb": "a",
        "2/saved_model.pb": "b",
        "8/saved_model.pb": "c",
    }
    assert not list((path / "7").iterdir())


def test_a_number_taken_meanwhile_is_skipped(tmp_path):
    def build(folder):
        writer("mine")(folder)
        # Another process is faster, after the numbers were looked up: see the patched listing.
        for number, text in (("1", "theirs"), ("2", "theirs too")):
            (tmp_path / number).mkdir()
            (tmp_path / number / "saved_model.pb").write_text(text)

    listing = type(tmp_path).iterdir
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            type(tmp_path),
            "iterdir",
            lambda self: (entry for entry in listing(self) if not entry.name.isdecimal()),
        )
        assert versions.add(tmp_path, build) == tmp_path / "3"
    assert contents(tmp_path) == {
        "1/saved_model.pb": "theirs",
        "2/saved_model.pb": "theirs too",
        "3/saved_model.pb": "mine",
    }


def test_a_version_appears_only_when_it_is_complete(tmp_path):
    def build(folder):
        writer("half")(folder)
        assert not [entry for entry in tmp_path.iterdir() if entry.name.isdecimal()]
        raise RuntimeError("full disk")

    with pytest.raises(RuntimeError, match="full disk"):
        versions.add(tmp_path, build)
    assert [entry.name for entry in tmp_path.iterdir()] == [versions.LOCK]


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX permissions")
def test_other_users_may_read_a_version(tmp_path):
    version = versions.add(tmp_path, writer("a"))
    umask = os.umask(0)
    os.umask(umask)
    assert stat.S_IMODE(version.stat().st_mode) == 0o777 & ~umask


def test_a_file_in_the_way_is_named(tmp_path):
    file = tmp_path / "file"
    file.write_text("precious")
    for path in (file, file / "below"):
        with pytest.raises(NotADirectoryError, match=f"Expected a folder.*{path}"):
            versions.add(path, writer("a"))
    assert file.read_text() == "precious"


def test_an_unwritable_folder_is_named(tmp_path, monkeypatch):
    def refuse(*args, **kwargs):
        raise PermissionError(13, "Permission denied", "somewhere inside")

    monkeypatch.setattr(versions.tempfile, "TemporaryDirectory", refuse)
    with pytest.raises(PermissionError, match=f"writable folder.*{tmp_path}"):
        versions.add(tmp_path, writer("a"))


def test_leftovers_of_killed_processes_are_removed_but_not_the_work_of_running_ones(tmp_path):
    abandoned = tmp_path / ".unfinished-dead" / "version"
    writer("half")(abandoned.parent)
    writer("half")(abandoned)

    def build(folder):
        writer("outer")(folder)
        assert not abandoned.parent.exists()
        assert versions.add(tmp_path, writer("inner")) == tmp_path / "1"  # another, meanwhile

    assert versions.add(tmp_path, build) == tmp_path / "2"
    assert contents(tmp_path) == {"1/saved_model.pb": "inner", "2/saved_model.pb": "outer"}
    assert {path.name for path in tmp_path.iterdir()} == {".lock", "1", "2"}
