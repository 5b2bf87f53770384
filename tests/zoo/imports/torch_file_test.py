"""Reads PyTorch's files without PyTorch; bad files only raise errors."""

import contextlib
import pickle
import struct
import tracemalloc

import numpy as np
import pytest

from cl_keras.zoo import imports
from cl_keras.zoo.imports import pickles, torch_file
from tests.zoo.imports import hostile_files
from tests.zoo.imports import torch_writer as writer


@contextlib.contextmanager
def opened(path):
    with open(path, "rb") as stream, torch_file.opened(stream) as checkpoint:
        yield checkpoint


def array_of(checkpoint, key):
    [(_, array)] = checkpoint.arrays({key: checkpoint.value[key]})
    return array


MEMORY = 64 * 2**20
"""Bytes that a hostile file may cost; the largest of them unpacks to 100 MiB."""


@pytest.mark.parametrize("write", [writer.write_zip, writer.write_old])
def test_what_was_saved_is_read(write, tmp_path):
    rng = np.random.default_rng(0)
    state = {
        "kernel": rng.normal(size=[4, 3, 2, 2]).astype("<f4"),
        "transposed": rng.normal(size=[5, 3]).astype("<f8").T,
        "half": rng.normal(size=7).astype("<f2"),
        "steps": np.array(1000, "<i8"),
        "none": np.zeros([0, 3], "<f4"),
    }
    write(tmp_path / "file.pth", {"epoch": 3, "lr": 0.5, "state_dict": state})
    with opened(tmp_path / "file.pth") as checkpoint:
        assert checkpoint.value["epoch"] == 3
        assert checkpoint.value["lr"] == 0.5
        found = dict(checkpoint.arrays(checkpoint.value["state_dict"]))
    assert set(found) == set(state)
    for key, array in state.items():
        np.testing.assert_array_equal(found[key], array)
        assert found[key].dtype == array.dtype


@pytest.mark.parametrize("form", ["zip", "old"])
def test_pytorch_and_we_read_the_same(form, tmp_path):
    torch = pytest.importorskip("torch")
    kinds = "float64 float32 float16 bfloat16 int64 int32 int16 int8 uint8 bool".split()
    state = {kind: torch.randn(6, 5).mul(3).to(getattr(torch, kind)) for kind in kinds}
    base = torch.randn(10, 10)
    state |= {"view": base[2:7, 1::3], "whole": base, "parameter": torch.nn.Parameter(base.T)}
    path = tmp_path / "file.pth"
    torch.save({"state": state}, path, _use_new_zipfile_serialization=form == "zip")
    with opened(path) as checkpoint:
        found = dict(checkpoint.arrays(checkpoint.value["state"]))
    for key, tensor in state.items():
        tensor = tensor.detach().float() if key == "bfloat16" else tensor.detach()
        np.testing.assert_array_equal(found[key], tensor.numpy())


def test_a_file_of_python_2_is_read(tmp_path):
    value = np.arange(3, dtype="<f4")

    def change(parts):
        return [*[writer.python2(part) for part in parts[:5]], *parts[5:]]

    writer.write_old(tmp_path / "file.pth", {"w": value}, change=change)
    with opened(tmp_path / "file.pth") as checkpoint:
        np.testing.assert_array_equal(array_of(checkpoint, "w"), value)


def test_a_module_that_was_saved_whole_is_skipped(tmp_path):
    """Like InstDisc's memory bank: the file holds its class with the source text."""
    kind = writer.name("lib.NCEAverage", "NCEAverage")
    source = writer.text("lib/NCEAverage.py") + writer.text("import os; os.system('touch canary')")
    made = writer.Raw(b"(" + writer.text("module") + kind + source + b"tQ)\x81}b")
    value = np.arange(3, dtype="<f4")
    writer.write_old(tmp_path / "file.pth", {"lemniscate": made, "w": value})
    with opened(tmp_path / "file.pth") as checkpoint:
        assert isinstance(checkpoint.value["lemniscate"], pickles.Opaque)
        np.testing.assert_array_equal(array_of(checkpoint, "w"), value)


def test_unused_tensors_stay_on_disk(tmp_path):
    bank = np.zeros(2**24, "<f4")
    writer.write_old(tmp_path / "file.pth", {"bank": bank, "w": np.ones(3, "<f4")})
    tracemalloc.start()
    with opened(tmp_path / "file.pth") as checkpoint:
        array_of(checkpoint, "w")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < bank.nbytes / 10


def test_a_missing_file_is_an_os_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        imports.import_checkpoint(tmp_path / "none.pth", "torchvision")


def test_errors_name_the_file(tmp_path):
    (tmp_path / "page.pth").write_bytes(b"<html>")
    with pytest.raises(ValueError, match="page.pth: It is not a checkpoint written by torch.save"):
        imports.import_checkpoint(tmp_path / "page.pth", "torchvision")


def test_the_network_that_hostile_files_are_made_from_is_good(tmp_path):
    writer.write_zip(tmp_path / "zip.pth", hostile_files.small_state())
    writer.write_old(tmp_path / "old.pth", hostile_files.small_state())
    for name in ("zip.pth", "old.pth"):
        assert imports.import_checkpoint(tmp_path / name, "torchvision").output_shape == (None, 16)


def test_there_are_enough_hostile_files():
    assert len(hostile_files.FILES) > 150


@pytest.mark.parametrize("name", ["os_system", "eval", "getattr", "inst", "obj", "stack_global"])
def test_the_attacks_are_real(name, tmp_path, monkeypatch):
    """Python's own reader runs them, so a canary that stays away means something."""
    monkeypatch.chdir(tmp_path)
    pickle.loads(writer.Pickle().dump(dict(hostile_files.attacks())[name]))
    assert (tmp_path / hostile_files.CANARY).exists()


@pytest.mark.parametrize("name", hostile_files.FILES)
def test_a_hostile_file_raises_and_does_nothing(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "file.pth"
    hostile_files.FILES[name](path)
    before = sorted(tmp_path.iterdir())
    tracemalloc.start()
    with pytest.raises(ValueError, match="^file.pth: "):
        imports.import_checkpoint(path, "torchvision")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert sorted(tmp_path.iterdir()) == before
    assert peak < MEMORY


def test_a_file_truncated_anywhere_raises(tmp_path):
    path = tmp_path / "file.pth"
    writer.write_old(path, {"conv1.weight": hostile_files.WEIGHT})
    data = path.read_bytes()
    weights = struct.calcsize("<q") + hostile_files.WEIGHT.nbytes
    for length in [*range(len(data) - weights), len(data) - 1]:
        path.write_bytes(data[:length])
        with pytest.raises(ValueError), opened(path):
            pass
