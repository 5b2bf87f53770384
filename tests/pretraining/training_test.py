import json

import keras
import numpy as np
import pytest
from PIL import Image

import cl_keras as cl
from cl_keras.pretraining import initial, timing, training
from cl_keras.recipes.config import Config
from cl_keras.runs import Run


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """24 gray pictures of 16 pixels, stored in color."""
    folder = tmp_path_factory.mktemp("photos")
    coarse = np.random.default_rng(0).integers(0, 256, [24, 4, 4]).astype("uint8")
    for number, pixels in enumerate(coarse):
        image = Image.fromarray(pixels).resize([16, 16], Image.Resampling.BICUBIC)
        image.convert("RGB").save(folder / f"{number:02}.png")
    return folder


@pytest.fixture(scope="module")
def finished(photos, tmp_path_factory):
    """A planned run, and what it printed."""
    out = tmp_path_factory.mktemp("runs") / "photos"
    with pytest.MonkeyPatch.context() as patch:
        costs = timing.Costs(once=11.0, step=1.0)
        patch.setattr(training, "_costs", lambda *arguments: costs)
        # 49 seconds are left: 16 epochs of three steps, and two percent.
        patch.setattr(initial, "suggest", lambda config, images: "none")
        cl.pretrain(photos, out, minutes=1)
    return out


def test_a_planned_run_records_all_choices(finished):
    config = Config.from_dict(Run(finished).config)
    assert (config.channels, config.image_size, config.images) == (1, 16, 24)
    assert (config.method, config.preset, config.encoder) == ("simclr", "small", "small_resnet")
    assert (config.batch_size, config.epochs, config.minutes) == (8, 16, 1.0)
    assert len(Run(finished).metrics()["loss"]) == 16


def test_the_same_call_resumes_without_timing_again(finished, photos, monkeypatch, capsys):
    monkeypatch.setattr(training, "_costs", None)
    before = (finished / "encoder.keras").stat().st_mtime_ns
    cl.pretrain(photos, finished, minutes=1)
    printed = capsys.readouterr().out
    assert "16 of 16 epochs are done" in printed and "The plan" not in printed
    assert (finished / "encoder.keras").stat().st_mtime_ns > before


def test_another_option_on_an_existing_run_is_refused(finished, photos):
    with pytest.raises(ValueError, match="epochs: 16 in the run, 3 now"):
        cl.pretrain(photos, finished, epochs=3)


def test_the_plan_is_printed_before_the_run_begins(photos, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(training, "train", lambda *arguments: None)
    cl.pretrain(photos, tmp_path / "run", epochs=2, init="none")
    printed = capsys.readouterr().out
    for words in (
        "24 images, 16 × 16 pixels, gray",
        "small_resnet, 0.31 M parameters, on gray images of 16 × 16 pixels",
        "simclr, recipe 'small', temperature 0.2",
        "2 epochs of 3 steps with 8 images each; adamw",
    ):
        assert words in printed
    assert not (tmp_path / "run").exists()


def test_an_option_that_does_not_exist_is_named(photos, tmp_path):
    with pytest.raises(ValueError, match="unknown option 'epoch'. Did you mean 'epochs'?"):
        cl.pretrain(photos, tmp_path / "run", epoch=2)
    assert not (tmp_path / "run").exists()


def test_a_wrong_option_writes_nothing(photos, tmp_path):
    for options in ({"temperature": -1}, {"views": {"flip": 2}}, {"preset": "smal"}):
        with pytest.raises(ValueError):
            cl.pretrain(photos, tmp_path / "run", epochs=1, init="none", **options)
    assert not (tmp_path / "run").exists()


def test_a_damaged_configuration_is_named(photos, tmp_path):
    (tmp_path / "config.json").write_text('{"data": ')
    with pytest.raises(ValueError, match="config.json is damaged"):
        cl.pretrain(photos, tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"data": "a", "epocs": 2}))
    with pytest.raises(ValueError, match="unknown option 'epocs'. Did you mean 'epochs'?"):
        cl.pretrain(photos, tmp_path)


def test_a_run_begins_with_the_weights_of_another(finished, photos, tmp_path, monkeypatch):
    trained = Run(finished).load_encoder()
    found = {}

    def keep(config, execution, source, test_source, strategy):
        model, _ = training._model_and_batches(config, execution, source, strategy)
        found["encoder"] = model.encoder

    monkeypatch.setattr(training, "train", keep)
    for init in (finished, finished / "encoder.keras"):
        cl.pretrain(photos, tmp_path / "run", epochs=1, init=str(init))
        for received, expected in zip(found["encoder"].variables, trained.variables, strict=True):
            np.testing.assert_array_equal(received, expected)


@pytest.mark.parametrize(
    "given, message",
    [
        ({"encoder": "resnet18"}, "are of small_resnet, not of resnet18"),
        ({"channels": 3}, "are for images of 1 channels; the images have 3"),
    ],
)
def test_weights_of_another_kind_are_refused(finished, given, message):
    config = Config(data="folder:a", init=str(finished), **given)
    with pytest.raises(ValueError, match=message):
        initial.with_its_encoder(config, initial.load(config.init))


def test_missing_and_unfitting_weights_are_refused(finished):
    with pytest.raises(FileNotFoundError, match="or the name of an entry of the zoo; received"):
        initial.load("nowhere/run")
    loaded = initial.load(str(finished))
    other = cl.encoders.small_resnet(image_size=16, channels=1, width=0.5)
    with pytest.raises(ValueError, match="do not fit the encoder small_resnet"):
        initial.fill(other, loaded, str(finished))
    keras.utils.clear_session()


def test_few_images_begin_with_an_entry_of_the_zoo(monkeypatch):
    small = Config(data="folder:a", method="simclr", preset="small", channels=1)
    found = []
    monkeypatch.setattr(cl.zoo, "download", found.append)
    assert initial.suggest(small, 4999) == "simclr_small_resnet_fashion_mnist"
    assert found == ["simclr_small_resnet_fashion_mnist"]
    assert initial.suggest(small.replace(channels=3), 100) == "simclr_small_resnet_emoji"
    assert initial.suggest(small, 5000) == "none"
    for other in ({"channels": 4}, {"preset": "published"}, {"encoder": "resnet18"}):
        assert initial.suggest(small.replace(**other), 100) == "none"


def test_without_a_network_it_begins_with_random_weights(monkeypatch, capsys):
    def fail(name):
        raise OSError("no network")

    monkeypatch.setattr(cl.zoo, "download", fail)
    small = Config(data="folder:a", method="simclr", preset="small", channels=1)
    assert initial.suggest(small, 100) == "none"
    assert "cannot be read: no network" in capsys.readouterr().out
