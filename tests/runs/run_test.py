import json

import keras
import numpy as np
import pytest

from cl_keras.runs import MetricsLog, Run, read_metrics
from tests.tiny import tiny_encoder, tiny_simclr


def test_a_run_opens_again_with_its_configuration_alone(tmp_path):
    config = {"data": "photos", "epochs": 3, "crop": (0.2, 1.0)}
    Run(tmp_path / "run", config)
    Run(tmp_path / "run", config)
    assert Run(tmp_path / "run").config == {"data": "photos", "epochs": 3, "crop": [0.2, 1.0]}


def test_another_configuration_is_refused_and_nothing_changes(tmp_path):
    Run(tmp_path, {"data": "photos", "epochs": 3})
    before = (tmp_path / "config.json").read_bytes()
    with pytest.raises(ValueError, match="epochs: 3 in the run, 4 now") as error:
        Run(tmp_path, {"data": "photos", "epochs": 4})
    assert "data" not in str(error.value).split("configuration")[1].split("Nothing")[0]
    assert (tmp_path / "config.json").read_bytes() == before


def test_a_folder_of_something_else_is_refused(tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(ValueError, match="is not empty and holds no run; nothing was written"):
        Run(tmp_path, {"epochs": 3})
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_no_run_is_no_run(tmp_path):
    with pytest.raises(FileNotFoundError, match="holds no run"):
        Run(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match="has no encoder.keras: the run has not ended"):
        Run(tmp_path / "run", {}).load_encoder()


def test_a_folder_that_cannot_be_made_gets_a_word(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="Cannot write the run folder"):
        Run(tmp_path / "file" / "run", {})


def test_only_one_process_writes(tmp_path):
    run = Run(tmp_path, {})
    with run.locked():
        with pytest.raises(OSError, match="Another process is training"):
            with Run(tmp_path).locked():
                pass
    with run.locked():
        versions = json.loads((tmp_path / "versions.json").read_text())
    assert versions["keras"] == keras.__version__


def test_the_encoder_comes_back(tmp_path, images):
    run = Run(tmp_path, {})
    encoder = tiny_encoder()
    run.save_encoder(encoder)
    np.testing.assert_array_equal(run.load_encoder()(images), encoder(images))


def test_a_run_leaves_its_metrics_and_tensorboard_logs(images, tmp_path):
    run = Run(tmp_path, {})
    model = tiny_simclr()
    history = model.fit(
        images, batch_size=16, epochs=3, verbose=0, callbacks=run.callbacks(32)
    ).history
    metrics = run.metrics()
    assert list(metrics)[:5] == ["epoch", "step", "seconds", "images_per_second"] + [
        "contrastive_accuracy"
    ]
    np.testing.assert_allclose(metrics["loss"], history["loss"])
    assert metrics["epoch"] == [1, 2, 3] and metrics["step"] == [2, 4, 6]
    np.testing.assert_allclose(metrics["learning_rate"], [0.05] * 3, rtol=1e-6)
    events = list((tmp_path / "tensorboard").rglob("events*"))
    assert events and all(path.stat().st_size > 100 for path in events)


def test_epochs_that_are_done_again_are_not_counted_twice(images, tmp_path):
    path = tmp_path / "metrics.csv"
    model = tiny_simclr()
    log = [MetricsLog(path, 32)]
    model.fit(images, batch_size=16, epochs=3, verbose=0, callbacks=log)
    first = read_metrics(path)
    model.fit(images, batch_size=16, initial_epoch=1, epochs=4, verbose=0, callbacks=log)
    second = read_metrics(path)
    assert second["epoch"] == [1, 2, 3, 4]
    assert second["loss"][0] == first["loss"][0] and second["loss"][1] != first["loss"][1]


def test_a_column_that_comes_later_is_empty_before(images, tmp_path):
    path = tmp_path / "metrics.csv"

    class Late(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            if epoch == 1:
                logs["knn"] = 0.5

    tiny_simclr().fit(
        images, batch_size=16, epochs=2, verbose=0, callbacks=[Late(), MetricsLog(path, 32)]
    )
    assert read_metrics(path)["knn"] == [None, 0.5]
    assert read_metrics(tmp_path / "none.csv") == {}
