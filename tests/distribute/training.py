"""Trains, evaluates, predicts and exports under a strategy.

    python -m tests.distribute.training --out=one.npz [--export=FOLDER]

If `TF_CONFIG` is set, as its worker. `workers_test.py` compares the results.
"""

import argparse
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf

from cl_keras import data, distribute, export
from cl_keras.data.arrays import ArraySource
from cl_keras.evaluation import KNNMonitor
from tests.tiny import tiny_simclr

IMAGES, BATCH, EPOCHS, SEED = 32, 8, 2, 5
STEPS = IMAGES // BATCH


class Recorded(ArraySource):
    """Keeps the indices of each read."""

    def __init__(self, array):
        super().__init__(array)
        self.reads = []

    def _read(self, indices):
        self.reads.append(indices)
        return super()._read(indices)


def images(seed):
    coarse = np.random.default_rng(seed).integers(0, 256, [IMAGES, 4, 4, 1]).astype("float32")
    return tf.image.resize(coarse, [12, 12]).numpy().astype("uint8")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", required=True)
    parser.add_argument("--export")
    asked = parser.parse_args()
    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")
    strategy = distribute.strategy()
    with strategy.scope():
        model = tiny_simclr()
        model.compile(keras.optimizers.SGD(0.05, momentum=0.9), steps_per_execution=2)
    source, held_out = Recorded(images(0)), images(1)
    labels = np.arange(IMAGES) % 2
    bank, test = data.load(images(2), labels=labels), data.load(images(3), labels=labels)
    history = model.fit(
        source.batches(BATCH, seed=SEED),
        epochs=EPOCHS,
        validation_data=data.load(held_out).batches(BATCH, shuffle=False, drop_remainder=True),
        callbacks=[KNNMonitor(bank, test)],
        verbose=0,
    ).history
    found = {f"history/{name}": values for name, values in history.items()}
    found["reads"] = np.array(source.reads[:])
    found["evaluated"] = model.evaluate(held_out, batch_size=BATCH, verbose=0)
    found["predicted"] = model.predict(held_out, batch_size=BATCH, verbose=0)
    batches = data.load(held_out).batches(BATCH, shuffle=False)
    found["predicted of batches"] = model.predict(batches, verbose=0)
    for place, weights in enumerate(model.get_weights()):
        found[f"weights/{place}"] = weights
    found["who"] = [distribute.worker(), distribute.num_workers(), distribute.is_chief()]
    found["all"] = distribute.from_every_worker(10 + distribute.worker())
    found["of the chief"] = distribute.from_chief(np.array([0.1, 7.0]) + distribute.worker())
    if asked.export and distribute.is_chief():
        path = export.saved_model(model, asked.export)
        served = tf.saved_model.load(str(path)).signatures["serving_default"]
        found["served"] = served(images=tf.constant(held_out))["embedding"]
    np.savez(asked.out, **found)


if __name__ == "__main__":
    main()
