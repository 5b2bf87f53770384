"""Runs the commands like a user, on a small folder of images."""

import json
import os
import random as random_module
import shutil
import signal
import subprocess
import sys
import time

import keras
import numpy as np
import pyarrow.parquet
import pytest
import tensorflow as tf
from PIL import Image

from cl_keras.cli import demo, main
from cl_keras.runs import Checkpoints, Run

FLAGS = [
    "--encoder=small_resnet",
    "--init=none",
    "--temperature=0.2",
    "--batch_size=8",
    "--epochs=4",
    "--optimizer=adamw",
    "--seed=3",
]


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Two classes of 16 gray PNGs of 16 pixels, and a file that is not a PNG."""
    folder = tmp_path_factory.mktemp("photos")
    pixels = np.random.default_rng(0).integers(0, 256, [2, 16, 4, 4]).astype("uint8")
    for label, name in enumerate(["cats", "dogs"]):
        (folder / name).mkdir()
        for i in range(16):
            image = Image.fromarray(pixels[label, i]).resize([16, 16], Image.Resampling.BICUBIC)
            image.save(folder / name / f"ü{i:02}.png")
    (folder / "cats" / "broken.png").write_bytes(b"")
    return folder


def pretrain_arguments(photos, run, *more):
    data = f"folder:{photos}"
    own = ["--channels=1", f"--data={data}", f"--test_data={data}", f"--run={run}"]
    return ["pretrain", *own, *FLAGS, *more]


@pytest.fixture(scope="module")
def finished(photos, tmp_path_factory):
    run = tmp_path_factory.mktemp("runs") / "photos"
    assert main.main(pretrain_arguments(photos, run)) == 0
    return run


def test_pretrain_writes_all_files_of_a_run(finished):
    names = {path.name for path in finished.iterdir()}
    assert names >= {
        "config.json",
        "versions.json",
        "metrics.csv",
        "tensorboard",
        "checkpoints",
        "skipped.txt",
        "encoder.keras",
    }
    assert "broken.png" in (finished / "skipped.txt").read_text()
    rows = (finished / "metrics.csv").read_text().splitlines()
    assert len(rows) == 5 and "knn" in rows[0]
    config = json.loads((finished / "config.json").read_text())
    assert config["images"] == 33 and config["warmup_epochs"] == 0.25


def test_a_finished_run_is_not_changed(finished, photos, capsys):
    before = (finished / "metrics.csv").read_bytes()
    assert main.main(pretrain_arguments(photos, finished)) == 0
    assert "4 of 4 epochs are done" in capsys.readouterr().out
    assert (finished / "metrics.csv").read_bytes() == before


def test_another_configuration_is_refused(finished, photos, capsys):
    before = (finished / "config.json").read_bytes()
    assert main.main(pretrain_arguments(photos, finished, "--temperature=0.4")) == main.FAILURE
    assert "temperature: 0.2 in the run, 0.4 now" in capsys.readouterr().err
    assert (finished / "config.json").read_bytes() == before


def test_evaluate_writes_numbers_and_a_page(finished, capsys):
    assert main.main(["evaluate", f"--run={finished}"]) == 0
    printed = capsys.readouterr().out
    result = json.loads((finished / "evaluation.json").read_text())
    assert list(result["encoders"]) == [
        "majority class",
        "raw pixels",
        "PCA-128, whitened",
        "untrained encoder",
        "learned encoder",
    ]
    for name, metrics in result["encoders"].items():
        values = {metric["name"]: metric["value"] for metric in metrics}
        assert name in printed and all(0 <= value <= 1 for value in values.values())
    page = (finished / "report.html").read_text()
    assert "learned encoder" in page and "http" not in page.replace("http-equiv", "")


def test_embed_writes_names_and_vectors(finished, photos, tmp_path, capsys):
    encoder = keras.models.load_model(finished / "encoder.keras")
    path = photos / "dogs" / "ü03.png"
    expected = encoder(np.asarray(Image.open(path))[None, :, :, None], training=False)
    for name in ("a.npz", "a.parquet"):
        out = tmp_path / name
        arguments = ["embed", f"--run={finished}", f"--data=folder:{photos}", f"--out={out}"]
        assert main.main(arguments) == 0
        assert "broken.png" in capsys.readouterr().out
        if name.endswith(".npz"):
            found = dict(np.load(out, allow_pickle=False))
        else:
            table = pyarrow.parquet.read_table(out)
            found = {column: table[column].to_numpy() for column in ("name", "label")}
            found["embedding"] = np.array(table["embedding"].to_pylist())
        assert found["embedding"].shape == (32, 128)
        row = list(found["name"]).index("dogs/ü03.png")
        np.testing.assert_allclose(found["embedding"][row], expected[0], atol=1e-5)
        assert found["label"][row] == 1
        assert main.main(arguments) == main.FAILURE
        assert "is left as it is" in capsys.readouterr().err


def test_export_serves_and_classifies(finished, photos, tmp_path):
    arguments = ["export", f"--run={finished}", f"--out={tmp_path / 'export'}"]
    assert main.main(arguments) == 0
    assert main.main([*arguments, f"--classify_data=folder:{photos}"]) == 0
    served = tf.saved_model.load(str(tmp_path / "export" / "2")).signatures
    pixels = np.asarray(Image.open(photos / "cats" / "ü00.png"))[None, :, :, None]
    encoder = keras.models.load_model(finished / "encoder.keras")
    received = served["serving_default"](images=tf.constant(pixels))["embedding"]
    np.testing.assert_allclose(received, encoder(pixels, training=False), atol=1e-5)
    answer = served["classify"](images=tf.constant(pixels))["classes"].numpy()[0]
    assert answer in (b"cats", b"dogs")


def test_export_names_the_images_that_cannot_be_served(finished, tmp_path, capsys):
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    known = (run / "images.json").read_text("utf-8")
    (run / "images.json").write_text(known.replace("ü03.png", "ü03.TIF"), "utf-8")
    assert main.main(["export", f"--run={run}", f"--out={tmp_path / 'export'}"]) == 0
    said = capsys.readouterr().err
    assert "2 of 33 images are TIFF files (cats/ü03.TIF, dogs/ü03.TIF)" in said
    assert "Convert them to PNG" in said and (tmp_path / "export" / "1").is_dir()
    (run / "images.json").unlink()
    assert main.main(["export", f"--run={run}", f"--out={tmp_path / 'export'}"]) == 0
    assert "TIFF" not in capsys.readouterr().err


def newest(run):
    """The record of a run's last checkpoint."""
    records = Checkpoints(run / "checkpoints").list()
    return records[-1] if records else None


@pytest.mark.slow
def test_a_run_ended_in_any_way_ends_like_an_uninterrupted_one(photos, tmp_path):
    """SIGTERM, SIGKILL at a random moment and during a write; then the same command again."""

    def start(run, *program):
        arguments = pretrain_arguments(photos, run, "--epochs=40", "--knn_every=20")
        command = [sys.executable, *(program or ["-m", "cl_keras.cli.main"]), *arguments]
        return subprocess.Popen(
            [*command, "--checkpoint_every_steps=3"],
            env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"},
            stdout=subprocess.DEVNULL,
        )

    def start_and_send(run, number, wait):
        """Sends a signal a number of seconds after the first checkpoint of the process."""
        before, process = newest(run), start(run)
        while newest(run) == before:
            assert process.poll() is None
            time.sleep(0.01)
        time.sleep(wait)
        process.send_signal(number)
        return process.wait()

    whole, ended = tmp_path / "whole", tmp_path / "ended"
    assert start(whole).wait() == 0
    assert start_and_send(ended, signal.SIGTERM, wait=0) == main.PREEMPTED
    assert start_and_send(ended, signal.SIGKILL, random_module.Random().uniform(0, 0.5)) == -9
    for spot in ("renamed the arrays", "half of the manifest", "first of the old ones removed"):
        assert start(ended, "tools/die_in_write.py", spot, "2").wait() == -9
    assert 0 < newest(ended)["epoch"] < 40
    assert start(ended).wait() == 0

    assert newest(ended)["step"] == newest(whole)["step"] == 160
    received, expected = (np.load(r / "checkpoints" / newest(r)["file"]) for r in (ended, whole))
    for name in expected.files:
        np.testing.assert_array_equal(received[name], expected[name])
    received, expected = Run(ended).metrics(), Run(whole).metrics()
    for column in set(expected) - {"seconds", "images_per_second"}:
        assert received[column] == expected[column], column
    assert len(expected["loss"]) == 40 and expected["knn"][19] is not None


def test_the_demo_is_a_configuration_of_pretrain():
    config = demo.demo_config(seed=5)
    assert config.data == "fashion_mnist_mini" and config.seed == 5
    assert config.channels is None and config.views == {}
