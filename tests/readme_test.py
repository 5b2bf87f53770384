"""Runs README's Python blocks in order, on small data."""

import re
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")

SMALLER = {
    "epochs=100": "epochs=1",
    "cl.encoders.resnet18(image_size=96": "cl.encoders.small_resnet(image_size=96, channels=3",
    "batches(256": "batches(4",
    "batches(1024": "batches(4",
    "batch_size=recipe.batch_size": "batch_size=4",
    "knn(a, b)": "knn(a, b, k=3)",
    "total=160": "total=4",
    "ConvNeXtTiny": "MobileNetV3Small",
}
"""Replacements that make the blocks quick; everything else runs as printed."""

NOT_RUN = ("imagenet", "cl.pretrain(")
"""Blocks that download, or train for minutes; other tests cover the latter."""


def blocks():
    found = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    return [block for block in found if not any(words in block for words in NOT_RUN)]


@pytest.fixture
def photos(tmp_path, monkeypatch):
    """Folders of small photographs, two classes each, where README expects them."""
    monkeypatch.chdir(tmp_path)
    draws = np.random.default_rng(0)
    for folder in ("photos", "train", "test"):
        for name, level in (("cats", 60), ("dogs", 190)):
            (tmp_path / folder / name).mkdir(parents=True)
            for number in range(5):
                pixels = draws.integers(level - 40, level + 40, [20, 24, 3]).astype("uint8")
                Image.fromarray(pixels).save(tmp_path / folder / name / f"{number}.png")
    return tmp_path


def test_the_blocks_run_in_order(photos):
    names = {"keras": keras}
    assert len(blocks()) >= 7
    for block in blocks():
        for text, smaller in SMALLER.items():
            block = block.replace(text, smaller)
        exec(compile(block, "README.md", "exec"), names)
    assert (photos / "views.png").is_file()
    assert (photos / "export" / "photos" / "1" / "saved_model.pb").is_file()


def test_every_replacement_still_applies():
    assert [text for text in SMALLER if text not in README] == []
