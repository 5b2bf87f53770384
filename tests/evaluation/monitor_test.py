"""The k-NN monitor reports what `knn` gives, and leaves the training alone."""

import csv

import keras
import numpy as np
import pytest

from cl_keras.evaluation import KNNMonitor, features, knn


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


def _fit(model, *callbacks, epochs=3):
    images = _data(40, seed=5)["image"]
    targets = np.random.default_rng(0).normal(size=(40, 4))
    return model.fit(images, targets, epochs=epochs, callbacks=[*callbacks], verbose=0)


def test_it_logs_the_knn_of_the_epoch(tmp_path):
    train, test, model = _data(60, seed=0), _data(30, seed=1), _model()
    file = tmp_path / "metrics.csv"
    monitor = KNNMonitor([train], [test], every=2, k=5)
    history = _fit(model, monitor, keras.callbacks.CSVLogger(file), epochs=4).history["knn"]
    np.testing.assert_array_equal(np.isnan(history), [True, False, True, False])
    bank, queries = (features(model, d["image"], progress=False).vectors for d in (train, test))
    expected = knn(bank, train["label"], queries, test["label"], k=5)["top1"]
    assert history[-1] == expected
    last = list(csv.DictReader(file.read_text().splitlines()))[-1]
    assert float(last["knn"]) == pytest.approx(expected)


def test_training_is_the_same_with_and_without_it():
    watched, plain = _model(), _model()
    _fit(watched, KNNMonitor([_data(60, seed=0)], [_data(30, seed=1)]))
    _fit(plain)
    state = [*watched.variables, *watched.optimizer.variables]
    for a, b in zip(state, [*plain.variables, *plain.optimizer.variables], strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy())


def test_a_representation_gone_to_nan_is_logged_as_nan():
    model = _model()
    model.layers[-1].bias.assign([np.nan] * 4)
    monitor = KNNMonitor([_data(60, seed=0)], [_data(30, seed=1)])
    assert np.isnan(_fit(model, monitor, epochs=1).history["knn"]).all()


def test_images_without_labels_are_explained():
    unlabelled = _data(30, seed=1)["image"]
    with pytest.raises(ValueError, match="train_labels must hold one label per row"):
        _fit(_model(), KNNMonitor(unlabelled, unlabelled), epochs=1)


def test_it_measures_under_a_strategy(mirrored):
    train, test = _data(60, seed=0), _data(30, seed=1)
    with mirrored.scope():
        model = _model()
    history = _fit(model, KNNMonitor([train], [test], k=5), epochs=1).history["knn"]
    bank, queries = (features(model, d["image"], progress=False).vectors for d in (train, test))
    assert history == [knn(bank, train["label"], queries, test["label"], k=5)["top1"]]
