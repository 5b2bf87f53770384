"""Runs the examples of the four families, and of two towers, on few images."""

import importlib.util
import pathlib
import re

import numpy as np
import pytest
from PIL import Image

from tests.quick import slow_but

EXAMPLES = pathlib.Path(__file__).parents[2] / "examples"

SHOWN = {
    "end_to_end": "saved:",
    "momentum_encoder": "keys in the queue:",
    "memory_bank": "nearest to image 0: [0",
    "clustering": "images per prototype:",
}


def example(name):
    path = EXAMPLES / f"{name}.py"
    assert len(path.read_text().splitlines()) < 60
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", slow_but(["memory_bank"], SHOWN))
def test_an_example_runs(name, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    example(name).main(["--images=256", "--epochs=1"])
    shown = capsys.readouterr().out
    assert "k-NN accuracy: 0." in shown and SHOWN[name] in shown


def test_two_towers_pairs_files_by_name(tmp_path, random, capsys):
    """Images identical in both folders are found by their pixels if the names are matched."""
    for folder in ("one", "other"):
        (tmp_path / folder).mkdir()
    for i in range(40):
        picture = random.integers(256, size=[16, 16, 3], dtype=np.uint8)
        for folder in ("one", "other"):
            Image.fromarray(picture).save(tmp_path / folder / f"{i:02d}-a.png")
    for i in range(5):  # without a partner
        Image.fromarray(picture).save(tmp_path / "other" / f"0{i}-b.png")
    folders = [str(tmp_path / "one"), str(tmp_path / "other")]
    example("two_towers").main([*folders, "--image_size=16", "--epochs=1"])
    shown = capsys.readouterr().out
    seen, held_out = map(int, re.search(r"on (\d+) pairs.* among (\d+) unseen", shown).groups())
    assert seen + held_out == 40 and held_out >= 5
    assert "pixels {'recall_at_1': 1.0, 'recall_at_5': 1.0}" in shown
    for name in ("two towers", "PCA", "SimCLR"):
        assert re.search(name + r" {'recall_at_1': (0|1)\.", shown)


def test_every_example_is_run():
    scripts = {path.stem for path in EXAMPLES.glob("*.py")}
    assert scripts == {*SHOWN, "finetune", "two_towers"}
