"""Runs the fine-tuning example on a few photographs."""

import importlib.util
import pathlib

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tests.zoo.entries import NAME, write_entry, write_photos

SCRIPT = pathlib.Path(__file__).parents[2] / "examples" / "finetune.py"


@pytest.fixture
def finetune():
    spec = importlib.util.spec_from_file_location("finetune", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_it_learns_the_classes_and_serves_them(finetune, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("CL_KERAS_ZOO", str(tmp_path / "zoo"))
    write_entry(tmp_path / "zoo")
    data = write_photos(tmp_path / "photos")
    path = finetune.main(
        [
            *(f"--zoo={NAME}", f"--data={data}", f"--test_data={data}"),
            *(f"--out={tmp_path / 'export'}", "--epochs=2", "--head_epochs=3", "--batch_size=8"),
        ]
    )
    assert path == tmp_path / "export" / "1"
    assert "100.0 % of 32 test images are classified correctly." in capsys.readouterr().out
    classify = tf.saved_model.load(str(path)).signatures["classify"]
    for name in ("cats", "dogs"):
        pixels = np.asarray(Image.open(tmp_path / "photos" / name / "03.png"))[None, :, :, None]
        assert classify(images=tf.constant(pixels))["classes"].numpy() == [name.encode()]


def test_images_without_labels_are_refused(finetune, tmp_path, monkeypatch):
    monkeypatch.setenv("CL_KERAS_ZOO", str(tmp_path / "zoo"))
    write_entry(tmp_path / "zoo")
    write_photos(tmp_path / "photos", classes=["flat"])
    arguments = [f"--zoo={NAME}", f"--data=folder:{tmp_path / 'photos' / 'flat'}", "--out=a"]
    with pytest.raises(SystemExit, match="--data needs labels"):
        finetune.main(arguments)
