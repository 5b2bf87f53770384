"""The zoo from the command line, with an entry that is quickly made."""

import json
import shutil

import keras
import numpy as np
import pytest
import tensorflow as tf

from cl_keras import data as data_module
from cl_keras import evaluation, zoo
from cl_keras.cli import main
from cl_keras.cli import zoo as zoo_command
from tests.zoo.entries import NAME, write_entry, write_photos


@pytest.fixture
def entry(tmp_path, monkeypatch):
    monkeypatch.setenv("CL_KERAS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("CL_KERAS_ZOO", str(tmp_path / "zoo"))
    return write_entry(tmp_path / "zoo")[1]


def test_list_card_and_download(entry, tmp_path, capsys):
    assert main.main(["zoo", "list", "--data=photos"]) == 0
    assert capsys.readouterr().out == f"{NAME}  [Apache-2.0]  knn 0.5\n"
    assert main.main(["zoo", "card", f"--name={NAME}"]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith(f"# {NAME}\n") and "| knn | 0.5 | cosine, k 20 |" in printed
    assert main.main(["zoo", "download", f"--name={NAME}"]) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'zoo' / NAME / 'encoder.safetensors'}\n"


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["card"], "needs --name"),
        (["publish", "--name=a_b"], "needs --run, --license"),
        (["import", "--file=a"], "needs --format, --out"),
        (["card", "--name=simclr_small_resnet_photo"], f"Did you mean '{NAME}'"),
        (["download", f"--name={NAME}", "--kind=pretraining"], "has no file of kind 'pretraining'"),
        (["list", "--method=simclr2"], "Did you mean 'simclr'"),
        (["import", "--file=a", "--format=torchvision", "--out=a.h5"], "must end in .keras"),
        (["import", "--file=none", "--format=torchvision", "--out=none.keras"], "none"),
        (["publish", "--run=none", "--name=a_b", "--license=MIT"], "holds no run"),
        (
            ["publish", "--run=a", "--name=a_b", "--license=MIT", "--paper_title=a"],
            "--paper_title and --paper_url together",
        ),
    ],
)
def test_a_mistake_ends_the_command_with_a_message(entry, arguments, message, capsys):
    assert main.main(["zoo", *arguments]) == main.FAILURE
    assert message in capsys.readouterr().err


def test_every_action_has_its_function():
    assert set(zoo_command.NEEDED) == set(zoo_command._MAINS)


def test_an_import_writes_the_encoder(entry, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(zoo, "import_checkpoint", lambda path, format, image_size: entry)
    out = tmp_path / "deep" / "encoder.keras"
    arguments = ["zoo", "import", "--file=a.pth", "--format=torchvision", f"--out={out}"]
    assert main.main(arguments) == 0
    assert "small_resnet with 32 features" in capsys.readouterr().out
    for received, expected in zip(
        keras.models.load_model(out).variables, entry.variables, strict=True
    ):
        np.testing.assert_array_equal(received, expected)
    assert main.main(arguments) == main.FAILURE
    assert "is left as it is" in capsys.readouterr().err


def test_a_name_of_the_zoo_stands_for_a_run(entry, tmp_path, capsys):
    data = write_photos(tmp_path / "photos")
    out = tmp_path / "measured"
    arguments = ["evaluate", f"--zoo={NAME}", f"--data={data}", f"--test_data={data}"]
    assert main.main([*arguments, f"--out={out}"]) == 0
    assert "linear, 1 % labels" in capsys.readouterr().out
    measured = json.loads((out / "evaluation.json").read_text())["encoders"]["learned encoder"]
    learned = {metric["name"]: metric["value"] for metric in measured}
    source = data_module.load(data, image_size=16, channels=1)
    found = evaluation.features(entry, source, progress=False)
    for share, key in ((0.01, "linear_1_percent"), (0.1, "linear_10_percent")):
        expected = evaluation.few_labels(found, found, share=share)["top1"]
        assert learned[key] == pytest.approx(expected, abs=0.02) and expected > 0.8

    path = tmp_path / "vectors.npz"
    assert main.main(["embed", f"--zoo={NAME}", f"--data={data}", f"--out={path}"]) == 0
    shown = np.stack([tf.io.decode_png(tf.io.read_file(str(p))) for p in photos(tmp_path)])
    expected = entry(shown, training=False)
    np.testing.assert_allclose(np.load(path)["embedding"], expected, rtol=1e-4, atol=1e-5)

    assert main.main(["export", f"--zoo={NAME}", f"--out={tmp_path / 'export'}"]) == 0
    served = tf.saved_model.load(str(tmp_path / "export" / "1")).signatures["serving_default"]
    embedding = served(images=tf.constant(shown))["embedding"]
    np.testing.assert_allclose(embedding, expected, rtol=1e-4, atol=1e-5)


def photos(tmp_path):
    return sorted((tmp_path / "photos").rglob("*.png"))


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["evaluate", f"--zoo={NAME}"], "needs --data and --test_data"),
        (["evaluate", f"--zoo={NAME}", "--run=a"], "Give one of --run"),
        (["evaluate"], "Give one of --run"),
        (["evaluate", "--run=a", "--data=b", "--train_data=b"], "are the same; give only one"),
        (["export", "--zoo=simclr_small_resnet_photo", "--out=a"], f"Did you mean '{NAME}'"),
    ],
)
def test_exactly_one_existing_encoder_must_be_named(entry, arguments, message, capsys):
    assert main.main(arguments) == main.FAILURE
    assert message in capsys.readouterr().err


def test_damaged_weights_end_the_command_with_a_message(entry, tmp_path, capsys):
    path = tmp_path / "zoo" / NAME / "encoder.safetensors"
    shutil.copyfile(tmp_path / "zoo" / NAME / "golden.safetensors", path)
    assert main.main(["export", f"--zoo={NAME}", f"--out={tmp_path / 'export'}"]) == main.FAILURE
    assert "is not the file that its card names: expected" in capsys.readouterr().err
    assert not (tmp_path / "export").exists()
