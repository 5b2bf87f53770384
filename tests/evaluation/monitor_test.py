"""The k-NN monitor reports the result of `knn`, and does not affect training."""

import csv

import keras
import numpy as np
import pytest

from cl_keras.data import load
from cl_keras.evaluation import Features, KNNMonitor, features, knn


def _data(rows, seed):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, rows)
    images = (labels[:, None, None, None] * 60 + rng.integers(0, 70, (rows, 4, 4, 1))).astype(
        "uint8"
    )
    return {"image": images, "index": np.arange(rows), "label": labels}


def _model():
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((4, 4, 1)),
            keras.layers.Flatten(),
            keras.layers.BatchNormalization(),
            keras.layers.Dropout(0.3),
            keras.layers.Dense(4),
        ]
    )
    model.compile("adam", "mse")
    return model


def _knn_of(model, train, test):
    bank, queries = (
        Features(features(model, d["image"], progress=False).vectors, d["label"])
        for d in (train, test)
    )
    return knn(bank, queries, k=5)["top1"]


def _fit(model, *callbacks, epochs=3):
    images = _data(40, seed=5)["image"]
    targets = np.random.default_rng(0).normal(size=(40, 4))
    return model.fit(images, targets, epochs=epochs, callbacks=[*callbacks], verbose=0)


def test_it_logs_the_knn_of_the_epoch(tmp_path):
    train, test, model = _data(60, seed=0), _data(30, seed=1), _model()
    file = tmp_path / "metrics.csv"
    monitor = KNNMonitor([train], [test], every=2, k=5)
    history = _fit(model, monitor, keras.callbacks.CSVLogger(file), epochs=5).history["knn"]
    assert history[-1] == _knn_of(model, train, test)
    logged = [row["knn"] for row in csv.DictReader(file.read_text().splitlines())]
    np.testing.assert_allclose(np.array(logged, float), history)
    assert history[2] == history[1] and len(history) == 5  # the third epoch is not measured


def _monitor_that_finds(*values, **options):
    monitor = KNNMonitor([_data(60, seed=0)], [_data(30, seed=1)], **options)
    found = iter(values)
    monitor.compute = lambda: next(found)
    return monitor


def test_the_first_every_second_and_the_last_epoch_are_measured(tmp_path):
    monitor = _monitor_that_finds(0.1, 0.5, 0.4, 0.6, every=2)
    watched = {"monitor": "knn", "mode": "max"}
    path = tmp_path / "{epoch}.keras"
    best = keras.callbacks.ModelCheckpoint(path, save_best_only=True, **watched)
    stop = keras.callbacks.EarlyStopping(patience=3, **watched)
    history = _fit(_model(), monitor, best, stop, epochs=5).history["knn"]
    assert history == [0.1, 0.5, 0.5, 0.4, 0.6]
    assert sorted(file.name for file in tmp_path.iterdir()) == ["1.keras", "2.keras", "5.keras"]


def test_a_resumed_run_repeats_the_value_from_before():
    monitor = _monitor_that_finds(0.5, every=4, last=0.3)
    model = _model()
    images = _data(40, seed=5)["image"]
    fitted = model.fit(
        images, np.zeros((40, 4)), initial_epoch=2, epochs=4, callbacks=[monitor], verbose=0
    )
    assert fitted.history["knn"] == [0.3, 0.5]


def test_training_is_the_same_with_and_without_it():
    watched, plain = _model(), _model()
    _fit(watched, KNNMonitor([_data(60, seed=0)], [_data(30, seed=1)]))
    _fit(plain)
    state = [*watched.variables, *watched.optimizer.variables]
    for a, b in zip(state, [*plain.variables, *plain.optimizer.variables], strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy())


def test_a_representation_of_nan_has_no_knn():
    model = _model()
    model.layers[-1].bias.assign([np.nan] * 4)
    monitor = KNNMonitor([_data(60, seed=0)], [_data(30, seed=1)])
    assert "knn" not in _fit(model, monitor, epochs=1).history


def test_images_without_labels_are_explained():
    unlabeled = _data(30, seed=1)["image"]
    with pytest.raises(ValueError, match="train labels must hold one label per row"):
        _fit(_model(), KNNMonitor(unlabeled, unlabeled), epochs=1)
    labeled, bare = load(unlabeled, labels=np.arange(30) % 3), load(unlabeled)
    with pytest.raises(ValueError, match="test_batches must have labels"):
        KNNMonitor(labeled, bare.batches(8, shuffle=False))


def test_it_measures_under_a_strategy(mirrored):
    train, test = _data(60, seed=0), _data(30, seed=1)
    with mirrored.scope():
        model = _model()
    history = _fit(model, KNNMonitor([train], [test], k=5), epochs=1).history["knn"]
    assert history == [_knn_of(model, train, test)]
