"""From a run to an entry, into a catalog and back, bit for bit."""

import json
import pathlib
import shutil
import sys
import types

import keras
import numpy as np
import pytest
import tensorflow as tf
from absl import flags as absl_flags
from safetensors.numpy import load_file

from cl_keras import zoo
from cl_keras.cli import flags as cli_flags
from cl_keras.cli import main
from cl_keras.recipes import build, flag_file
from cl_keras.recipes.config import Config
from cl_keras.runs import Run
from cl_keras.zoo import cards, catalog
from cl_keras.zoo.cards import page, schema
from cl_keras.zoo.download import hub as hub_module
from cl_keras.zoo.publish import golden
from cl_keras.zoo.weights import variables
from tests.zoo.entries import write_photos
from tests.zoo.examples import card_of
from tools import make_catalog

NAME = "moco_small_resnet_photos_2ep"
FLAGS = [
    *("--method=moco", "--encoder=small_resnet", "--channels=1", "--batch_size=8", "--epochs=2"),
    *("--optimizer=adamw", "--seed=3", '--method_options={"queue_size": 16, "momentum": 0.9}'),
    *("--warmup_epochs=0", "--learning_rate=0.003"),
]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of MoCo on 32 pictures, trained and evaluated by the commands."""
    folder = tmp_path_factory.mktemp("run")
    data = write_photos(folder / "photos")
    where = folder / "runs" / "moco"
    arguments = [f"--data={data}", f"--run={where}", *FLAGS]
    assert main.main(["pretrain", *arguments]) == 0
    assert main.main(["evaluate", f"--run={where}", f"--test_data={data}"]) == 0
    return where


@pytest.fixture(scope="module")
def entry(run, tmp_path_factory):
    """The entry with the whole method, and a catalog of it."""
    out = tmp_path_factory.mktemp("published") / "zoo"
    arguments = [f"--run={run}", f"--name={NAME}", f"--out={out}", "--license=Apache-2.0"]
    more = ["--pretraining", "--hardware=two cores", "--note=Made by a test."]
    paper = ["--paper_title=MoCo", "--paper_url=https://arxiv.org/abs/1911.05722"]
    assert main.main(["zoo", "publish", *arguments, *more, *paper]) == 0
    make_catalog.main([f"--zoo={out}", f"--out={out / 'catalog.json'}"])
    return out / NAME


@pytest.fixture
def published(entry, monkeypatch):
    """The same entry, in CL_KERAS_ZOO."""
    monkeypatch.setenv("CL_KERAS_ZOO", str(entry.parent / "catalog.json"))
    return entry


def test_what_is_published_comes_back_bit_for_bit(run, published):
    assert {path.name for path in published.iterdir()} == {
        *(
            "encoder.safetensors",
            "pretraining.safetensors",
            "golden.safetensors",
            "recipe.flags",
            "card.json",
        ),
        *("README.md", "metrics.csv", "evaluation.json"),
    }
    assert [path.name for path in published.parent.iterdir() if path.name[0] == "."] == []
    trained, encoder = Run(run).load_encoder(), zoo.load(NAME)
    for received, expected in zip(encoder.variables, trained.variables, strict=True):
        np.testing.assert_array_equal(received, expected)
    shown = golden.images(16, 1)
    np.testing.assert_array_equal(encoder(shown), trained(shown))
    with open(published / "golden.safetensors", "rb") as stream:
        assert golden.gap(encoder, stream, zoo.card(NAME)) <= golden.TOLERANCE


def test_the_whole_method_comes_back_and_trains_on(run, published):
    model = zoo.load(NAME, kind="pretraining")
    opened = Run(run)
    expected = build.make_model(Config.from_dict(opened.config), (16, 16, 1), 4)
    opened.checkpoints.restore(expected)
    received = variables.values(model)
    for name, value in variables.values(expected).items():
        np.testing.assert_array_equal(received[name], value, err_msg=name)
    assert int(model.step) == 8 and received["queue/keys"].std() > 0
    logs = model.train_step({"image": tf.constant(golden.images(16, 1))})  # without a graph
    assert int(model.step) == 9 and np.isfinite(logs["loss"])
    assert (variables.values(model)["queue/keys"] != received["queue/keys"]).any()


def test_the_card_says_what_was_done(run, published):
    card = zoo.card(NAME)
    assert (card.method, card.encoder.name, card.data, card.tag) == (
        *("moco", "small_resnet", "photos", "2ep"),
    )
    assert card.encoder == cards.Encoder("small_resnet", 16, 1, 128, None, 1.0)
    assert card.training.config == Run(run).config and card.training.seeds == (3,)
    assert (card.training.epochs, card.training.hardware) == (2, "two cores")
    assert card.paper.url.endswith("1911.05722") and card.notes == ("Made by a test.",)
    assert card.file("encoder").size == (published / "encoder.safetensors").stat().st_size
    measured = json.loads((run / "evaluation.json").read_text())["encoders"]["learned encoder"]
    found = {metric.name: metric for metric in card.metrics}
    assert {name: metric.value for name, metric in found.items()} == {
        metric["name"]: metric["value"]
        for metric in measured
        if not metric["name"].endswith("_labels")
    }
    assert "; 1 % of the labels" in found["linear_1_percent"].protocol
    assert "k 20," in found["knn"].protocol and "k 32," in found["perturbed_knn_200"].protocol
    assert found["perturbed_knn"].protocol.endswith("each perturbed")
    assert "32 training images, on 32 test images" in found["knn"].protocol


def config_of(path):
    flags = absl_flags.FlagValues()
    cli_flags.define(flags, Config)
    flags(["pretrain", f"--flagfile={path}"])
    return cli_flags.read(flags, Config)


def test_the_recipe_makes_the_same_configuration(run, published):
    config = Config.from_dict(Run(run).config).replace(images=None)
    assert config_of(published / "recipe.flags") == config
    text = (published / "recipe.flags").read_text()
    assert f"--flagfile=zoo/{NAME}/recipe.flags --run=runs/{NAME}" in text


def test_the_page_is_made_from_the_card(published):
    text = (published / "README.md").read_text()
    card = zoo.card(NAME)
    assert text == page.markdown(card)
    for part in (NAME, "two cores", card.file("encoder").sha256, "Apache-2.0", "kind="):
        assert part in text
    assert (published.parent / "catalog.json").read_text() == make_catalog.catalog_text(
        catalog.read_folder(published.parent)
    )


def publish(run, name=NAME, **options):
    return zoo.publish(run, name, **{"license": "Apache-2.0"} | options)


def test_an_existing_entry_is_left_alone(run, published):
    before = {path.name: path.read_bytes() for path in published.iterdir()}
    with pytest.raises(FileExistsError, match="exists and is left as it is"):
        publish(run, out=published.parent)
    assert {path.name: path.read_bytes() for path in published.iterdir()} == before


def test_a_recipe_without_weights_gets_them(run, tmp_path):
    folder = tmp_path / NAME
    folder.mkdir()
    (folder / "recipe.flags").write_text("# MoCo v2, by hand.\n# Two minutes.\n--epochs=99\n")
    assert publish(run, out=tmp_path) == folder
    text = (folder / "recipe.flags").read_text()
    assert text.startswith("# MoCo v2, by hand.\n# Two minutes.\n--") and "--epochs=2\n" in text
    assert (folder / "card.json").exists() and not (folder / "pretraining.safetensors").exists()
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_an_entry_that_is_a_link_is_refused(run, tmp_path):
    (tmp_path / "outside").mkdir()
    (tmp_path / "zoo").mkdir()
    (tmp_path / "zoo" / NAME).symlink_to(tmp_path / "outside")
    with pytest.raises(FileExistsError):
        publish(run, out=tmp_path / "zoo")
    assert list((tmp_path / "outside").iterdir()) == []


@pytest.mark.parametrize(
    "name, options, message",
    [
        ("../moco_small_resnet_photos", {}, "The name of a zoo entry must be"),
        ("moco", {}, "The name of a zoo entry must be"),
        ("simclr_small_resnet_photos", {}, "must begin with 'moco_small_resnet_'"),
        ("moco_small_resnet_birds", {}, "Give data="),
        ("moco_small_resnet_photosbirds", {}, "Give data="),
        (NAME, {"data": "birds"}, "must be moco_small_resnet_birds"),
        (NAME, {"license": ""}, "need a license"),
        (NAME, {"license": None}, "need a license"),
        (NAME, {"hardware": "a\nb"}, "printable"),
        (NAME, {"notes": ["\x1b[2J"]}, "printable"),
    ],
)
def test_what_does_not_fit_is_refused_and_nothing_is_written(run, tmp_path, name, options, message):
    with pytest.raises(ValueError, match=message):
        publish(run, name, out=tmp_path / "zoo", **options)
    assert not (tmp_path / "zoo").exists() or list((tmp_path / "zoo").iterdir()) == []


@pytest.mark.parametrize(
    "harm, message",
    [
        ("no encoder", "is not finished: 2 of 2 epochs are done, and there is no encoder.keras"),
        ("no metrics", "is not finished: 0 of 2 epochs"),
        ("an epoch is missing", "is not finished: 1 of 2 epochs are done"),
        ("no evaluation", "run `cl-keras evaluate"),
        ("broken evaluation", "was not written by `cl-keras evaluate`"),
        ("other evaluation", "was not written by `cl-keras evaluate`"),
        ("another checkpoint", "the last checkpoint does not match encoder.keras"),
        ("no run", "holds no run"),
    ],
)
def test_an_incomplete_run_is_refused(run, tmp_path, harm, message):
    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    rows = (copy / "metrics.csv").read_text().splitlines(keepends=True)
    if harm == "no encoder":
        (copy / "encoder.keras").unlink()
    elif harm == "no metrics":
        (copy / "metrics.csv").unlink()
    elif harm == "an epoch is missing":
        (copy / "metrics.csv").write_text("".join(rows[:-1]))
    elif harm == "no evaluation":
        (copy / "evaluation.json").unlink()
    elif harm == "broken evaluation":
        (copy / "evaluation.json").write_text("{")
    elif harm == "other evaluation":
        (copy / "evaluation.json").write_text('{"rows": [], "protocol": {}}')
    elif harm == "another checkpoint":
        encoder = keras.models.load_model(copy / "encoder.keras")
        encoder.variables[0].assign(encoder.variables[0] + 1)
        encoder.save(copy / "encoder.keras")
    else:
        (copy / "config.json").unlink()
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        publish(copy, out=tmp_path / "zoo", pretraining=True)
    assert not (tmp_path / "zoo").exists() or list((tmp_path / "zoo").iterdir()) == []


def test_other_metrics_can_replace_the_evaluation(run, tmp_path):
    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    (copy / "evaluation.json").unlink()
    metric = cards.Metric("recall", 0.25, "by hand", "a colleague")
    folder = publish(copy, out=tmp_path / "zoo", metrics=[metric])
    assert schema.read(cards.Card, (folder / "card.json").read_bytes(), "card").metrics == (metric,)


class Hub:
    """Replaces the parts of `huggingface_hub` that we call; repositories are folders."""

    def __init__(self, folder):
        self.folder, self.calls = folder, []

    def module(self):
        hub = self

        class HfApi:
            def upload_folder(self, *, folder_path, repo_id, path_in_repo, **more):
                hub.calls.append((repo_id, path_in_repo, more))
                shutil.copytree(folder_path, hub.folder / repo_id / path_in_repo)

        return types.SimpleNamespace(HfApi=HfApi)


def test_an_entry_is_uploaded_to_the_hub_and_downloaded_again(
    run, tmp_path, monkeypatch, cache_folder, server
):
    hub = Hub(tmp_path / "hub")
    monkeypatch.setitem(sys.modules, "huggingface_hub", hub.module())
    monkeypatch.setenv("HF_ENDPOINT", server.address)
    folder = publish(run, out=tmp_path / "zoo", upload="hf://owner/zoo/models")
    assert hub.calls[0][:2] == ("owner/zoo", f"models/{NAME}")
    make_catalog.main(
        [f"--zoo={tmp_path / 'zoo'}", f"--out={tmp_path / 'hub/owner/zoo/models/catalog.json'}"]
    )
    there = tmp_path / "hub/owner/zoo"
    for path in filter(pathlib.Path.is_file, there.rglob("*")):
        name = f"/owner/zoo/resolve/main/{path.relative_to(there)}"
        server.answers[name] = path.read_bytes()
    monkeypatch.setenv("CL_KERAS_ZOO", "hf://owner/zoo/models/catalog.json")
    encoder = zoo.load(NAME)
    weights = f"/owner/zoo/resolve/main/models/{NAME}/encoder.safetensors"
    assert server.requests[-1][0] == weights
    np.testing.assert_array_equal(
        encoder.variables[0], load_file(folder / "encoder.safetensors")["stem_conv/kernel"]
    )
    shutil.rmtree(cache_folder / NAME)
    server.answers[weights] = server.answers[weights][:-1]
    with pytest.raises(ValueError, match="were expected, by its card"):
        zoo.load(NAME)
    del server.answers[weights]
    with pytest.raises(OSError, match="the server answered 404"):
        zoo.load(NAME)
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ImportError, match="cl-keras"):
        publish(run, f"{NAME}_b", out=tmp_path / "other", upload="hf://owner/zoo")


@pytest.mark.parametrize("kind", [RuntimeError, ValueError, KeyError])
def test_a_failed_upload_is_an_os_error(kind, tmp_path, monkeypatch):
    """For any exception of huggingface_hub."""

    class HfApi:
        def upload_folder(self, **_):
            raise kind("403 forbidden")

    monkeypatch.setitem(sys.modules, "huggingface_hub", types.SimpleNamespace(HfApi=HfApi))
    with pytest.raises(OSError, match="could not be uploaded to hf://owner/zoo: .*403 forbidden"):
        hub_module.upload(tmp_path, "hf://owner/zoo", "a_b")


def test_flags_are_written_as_they_are_read():
    config = {"data": "a", "epochs": 3, "learning_rate": 1e-05, "views": {"hue": 0.1}, "head": None}
    text = flag_file.flags_text(config | {"images": 5, "method_options": {}}, "a_b_c")
    assert text.splitlines()[2:] == [
        *("--data=a", "--epochs=3", "--learning_rate=1e-05", '--views={"hue": 0.1}'),
    ]


def test_a_page_shows_a_card_as_text():
    card = card_of(origin="<script>alert(1)</script> | [a](javascript:b) `c` *d*")
    text = page.markdown(card)
    assert "<script>" not in text and "\\<script\\>" in text
    assert "\\| \\[a\\](javascript:b) \\`c\\` \\*d\\*" in text
    assert "<https://arxiv.org/abs/2002.05709>" in text
    assert "None." in page.markdown(card_of(metrics=()))


def test_the_overview_groups_evaluated_entries_by_data_and_lists_published_ones_apart():
    published = cards.Metric("linear", 0.711, "as its authors", "https://example.org")
    other = card_of(name="moco_small_resnet_birds", method="moco", data="birds")
    theirs = card_of(name="simclr_small_resnet_a", data="a", metrics=(published,), origin="x|y")
    lines = make_catalog.overview([other, card_of(), theirs]).splitlines()
    titles = [line for line in lines if line.startswith("## ")]
    assert [title.split(": ")[-1] for title in titles[:-1]] == ["birds", "photos"]
    link = "simclr\\_small\\_resnet\\_photos](simclr_small_resnet_photos/README.md)"
    assert f"| [{link} | 4 | 50.0 |  |  |  |  |  | Apache-2.0 |" in lines
    link = "simclr\\_small\\_resnet\\_a](simclr_small_resnet_a/README.md)"
    assert f"| [{link} | a | linear 71.1 | Apache-2.0 |" in lines
    assert sum("moco" in line for line in lines) == 1
