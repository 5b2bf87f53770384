"""Runs finetune, predict, search, select and duplicates like a user."""

import csv

import keras
import numpy as np
import pytest
from PIL import Image

from cl_keras import downstream
from cl_keras.cli import main
from tests.tiny import tiny_encoder

COMMANDS = ["finetune", "predict", "search", "select", "duplicates"]


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Three colors, twelve images each; blue/copy.png is blue/0.png in another size."""
    folder = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    for channel, name in enumerate(["blue", "green", "red"]):
        (folder / name).mkdir()
        for i in range(12):
            coarse = rng.integers(0, 90, (4, 4, 3))
            coarse[..., 2 - channel] += 150
            picture = Image.fromarray(coarse.astype(np.uint8)).resize([32, 32], Image.BICUBIC)
            picture.save(folder / name / f"{i}.png")
    Image.open(folder / "blue" / "0.png").resize([64, 64]).save(folder / "blue" / "copy.png")
    return folder


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    inputs = keras.Input([16, 16, 3])
    pooled = keras.layers.GlobalAveragePooling2D()(keras.layers.Rescaling(1 / 255)(inputs))
    path = tmp_path_factory.mktemp("encoder") / "encoder.keras"
    keras.Model(inputs, pooled).save(path)
    return f"--encoder={path}"


def test_from_labels_to_predictions(photos, encoder, tmp_path, capsys):
    data, made = f"--data=folder:{photos}", tmp_path / "classifier"
    assert main.main(["finetune", encoder, data, f"--out={made}"]) == 0
    assert "3 classes from 37 labeled images" in capsys.readouterr().out
    out = tmp_path / "out.csv"
    assert main.main(["predict", f"--classifier={made}", data, f"--out={out}"]) == 0
    rows = list(csv.DictReader(out.read_text("utf-8").splitlines()))
    assert len(rows) == 37
    assert all(row["file"].startswith(row["class"] + "/") for row in rows)
    assert sum(float(rows[0][f"p({name})"]) for name in ("blue", "green", "red")) > 0.999
    assert main.main(["predict", f"--classifier={made}", data, f"--out={out}"]) == main.FAILURE
    assert "exists and is left as it is" in capsys.readouterr().err


def test_search_finds_the_copy_and_keeps_its_index(photos, encoder, tmp_path, capsys):
    index = tmp_path / "index.npz"
    arguments = [encoder, f"--data=folder:{photos}", f"--index={index}", "--k=3"]
    query = f"--query={photos / 'blue' / 'copy.png'}"
    assert main.main(["search", *arguments, query]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert {line.split()[1] for line in lines[:2]} == {"blue/0.png", "blue/copy.png"}
    written = index.stat().st_mtime_ns
    assert main.main(["search", *arguments, query]) == 0
    assert index.stat().st_mtime_ns == written
    assert main.main(["search", *arguments, "--query=nowhere.png"]) == main.FAILURE
    assert "nowhere.png cannot be used: cannot be opened" in capsys.readouterr().err


def test_select_writes_a_table_to_fill_in(photos, encoder, tmp_path):
    out = tmp_path / "next.csv"
    labels = tmp_path / "labels.csv"
    labels.write_text("file,label\nblue/0.png,blue\n")
    arguments = [encoder, f"--data=folder:{photos}", f"--labels={labels}", "--n=2"]
    assert main.main(["select", *arguments, f"--out={out}"]) == 0
    rows = list(csv.DictReader(out.read_text("utf-8").splitlines()))
    assert {row["file"].split("/")[0] for row in rows} == {"green", "red"}
    assert [row["label"] for row in rows] == ["", ""]


def test_duplicates_lists_the_copy_and_writes_a_page(photos, tmp_path, capsys):
    page = tmp_path / "pairs.html"
    assert main.main(["duplicates", f"--data=folder:{photos}", f"--out={page}"]) == 0
    assert "1 of 37 images are near-duplicates of another (1 pairs)" in capsys.readouterr().out
    text = page.read_text()
    assert "blue/copy.png" in text and "blue/0.png" in text


@pytest.mark.parametrize("command", COMMANDS)
def test_help_fits_one_screen(command, capsys):
    assert main.main([command, "--help"]) == 0
    assert len(capsys.readouterr().out.splitlines()) <= 50


@pytest.mark.parametrize("harm", [b"", b"[]", "half", "flip"])
@pytest.mark.parametrize("name", ["classifier.json", "head.npz", "encoder.keras"])
def test_a_damaged_classifier_is_named(name, harm, tmp_path, capsys):
    classifier = downstream.Classifier(
        tiny_encoder(), np.eye(6), np.zeros(6), list("abcdef"), np.eye(6), 1.0
    )
    path = classifier.save(tmp_path / "classifier") / name
    content = path.read_bytes()
    middle = len(content) // 2
    flipped = content[:middle] + bytes([content[middle] ^ 255]) + content[middle + 1 :]
    path.write_bytes({"half": content[:middle], "flip": flipped}.get(harm, harm))
    out = tmp_path / "new" / "out.csv"
    arguments = [f"--classifier={path.parent}", f"--data=folder:{tmp_path}", f"--out={out}"]
    assert main.main(["predict", *arguments]) == main.FAILURE
    said = capsys.readouterr().err
    assert name in said and "damaged" in said and "pickle" not in said


def test_an_unwritable_output_is_found_before_the_work(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    for command, flag in (("embed", "--encoder=none.keras"), ("predict", "--classifier=none")):
        out = tmp_path / "file" / "out.csv" if command == "predict" else tmp_path / "file/a.npz"
        arguments = [command, flag, "--data=folder:none", f"--out={out}"]
        assert main.main(arguments) == main.FAILURE
        assert "of --out cannot be created" in capsys.readouterr().err
