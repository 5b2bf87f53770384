"""Trains every method for some steps on several devices or processes, and writes the results.

    python -m tests.conformance.replicas --on=two --out=two.npz

A process can hold only one strategy of each kind, so each way to share a batch has its own process;
`replicas_test.py` compares the files. With `--on=workers` it is one worker of `TF_CONFIG`.
"""

import argparse
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf

from cl_keras import data, distribute
from tests.conformance.descriptors import IMAGES, LABELS, OPTIONS, make

DEVICES = {"one": 1, "two": 2, "four": 4, "workers": 1}
BATCH, EPOCHS, STEPS = 16, 2, 2
BROKEN = {
    # As a program that forgets the other replicas: the shapes are right, the numbers are not.
    "gather": lambda rows: tf.concat([rows] * distribute.num_replicas(), axis=0),
    "sum_over_replicas": lambda values: tf.nest.map_structure(
        lambda value: value * distribute.num_replicas(), values
    ),
}


def images():
    """uint8 [IMAGES, 12, 12, 1]: smooth blobs, all different."""
    coarse = np.random.default_rng(0).integers(0, 256, [IMAGES, 4, 4, 1]).astype("float32")
    return tf.image.resize(coarse, [12, 12]).numpy().astype("uint8")


class Recorder(keras.callbacks.Callback):
    """Records the loss of each step, and the momentum after the first, which is its gradient."""

    def __init__(self):
        super().__init__()
        self.found = {"loss": []}

    def on_train_batch_end(self, batch, logs=None):
        self.found["loss"].append(logs["loss"])
        if len(self.found["loss"]) == 1:
            for place, variable in enumerate(self.model.optimizer.variables):
                self.found[f"gradient/{place}/{variable.name}"] = variable.numpy()


def state(model):
    """All variables except those of the metrics, which are reset in each epoch."""
    metrics = {id(v) for metric in model.metrics for v in metric.variables}
    own = [v for v in model.variables if id(v) not in metrics]
    return [*own, *model.optimizer.variables]


def copies_differ(variable):
    """Whether the copies of a variable on this process's replicas differ in any bit."""
    copies = [copy.numpy() for copy in getattr(variable.value, "values", [variable.value])]
    return any(not np.array_equal(copy, copies[0]) for copy in copies[1:])


def train(name, strategy, source):
    """Trains a method; returns what was recorded, all state, and which copies differ."""
    with strategy.scope():
        model = make(name)
    recorder = Recorder()
    model.fit(
        source.batches(BATCH, seed=2),
        epochs=EPOCHS,
        steps_per_epoch=STEPS,
        callbacks=[recorder],
        verbose=0,
    )
    found = dict(recorder.found)
    for place, variable in enumerate(state(model)):
        found[f"state/{place}/{variable.name}"] = variable.numpy()
    differ = [variable.path for variable in state(model) if copies_differ(variable)]
    return found | {"differ": np.array(differ, dtype=str)}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--on", choices=DEVICES, required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--broken", action="store_true")
    parser.add_argument("--only", nargs="*", default=list(OPTIONS))
    asked = parser.parse_args()
    for name, double in BROKEN.items() if asked.broken else ():
        setattr(distribute, name, double)
    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")
    if asked.on == "workers":
        strategy = distribute.strategy("multiworker")
    else:
        count = DEVICES[asked.on]
        tf.config.set_logical_device_configuration(
            tf.config.list_physical_devices("CPU")[0],
            [tf.config.LogicalDeviceConfiguration()] * count,
        )
        strategy = distribute.strategy(",".join(f"cpu:{i}" for i in range(count)))
    source = data.load(images(), labels=LABELS)
    found = {}
    for name in asked.only:
        for key, value in train(name, strategy, source).items():
            found[f"{name}:{key}"] = value
    np.savez(asked.out, **found)


if __name__ == "__main__":
    main()
