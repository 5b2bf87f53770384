"""Trains a run, from its configuration to its encoder."""

import keras
import tensorflow as tf

from cl_keras import data, distribute
from cl_keras.callbacks import Health
from cl_keras.evaluation import KNNMonitor
from cl_keras.recipes import build
from cl_keras.recipes.config import Config, Execution
from cl_keras.runs import Run


def main(config: Config, execution: Execution) -> None:
    """Trains a run to its end, from the beginning or from its last checkpoint.

    Everything is built, and so checked, before anything is written.

    Raises:
        ValueError: if the configuration is not valid, or is not that of the run in the folder.
        OSError: if another process has the run, or the folder cannot be written.
    """
    # First of all: over several workers it must come before anything that TensorFlow does.
    strategy = distribute.strategy(execution.strategy, execution.devices)
    source = build.load_data(config.data, config)
    config = build.resolve(config, len(source), source.image_shape)
    train(config, execution, source, strategy)


def train(config: Config, execution: Execution, source, strategy=None) -> Run:
    """Trains the model of a resolved configuration.

    Args:
        config: a resolved `Config`.
        execution: where the run is kept, and how it is carried out.
        source: the images.
        strategy: of `distribute.strategy`. Default: one device.

    Returns:
        The `Run`.
    """
    keras.config.set_dtype_policy(config.precision)
    batches = source.batches(config.batch_size, seed=config.seed)
    if execution.data_service:
        batches = batches.from_service(execution.data_service)
    with (strategy or tf.distribute.get_strategy()).scope():
        model = build.make_model(config, source.image_shape, batches.steps_per_epoch)
    test_source = _load_test(config, source)
    model.check_data(batches)
    run = Run(execution.run, config.to_dict(), keep=execution.keep_checkpoints)
    with run.locked():
        _fit(run, model, batches, config, execution, source, test_source)
        if source.skipped and distribute.is_chief():
            path = run.folder / "skipped.txt"
            data.write_skipped(source, path)
            print(f"{len(source.skipped)} files could not be read; they are listed in {path}.")
        run.save_encoder(model.encoder)
    print(f"The encoder is in {run.encoder_path}.")
    return run


def _fit(run, model, batches, config, execution, source, test_source):
    position = run.checkpoints.restore(model)
    if position:
        within = f" and {position.batch} steps" if position.batch else ""
        done = f"{position.epoch} of {config.epochs} epochs{within} are done"
        print(f"{run.folder}: {done}; resuming from there.")
    if position.epoch >= config.epochs:
        return
    monitors = []
    if test_source is not None:
        measured = run.metrics().get("knn", [])[: position.epoch]
        last = measured[-1] if measured else None
        monitors = [KNNMonitor(source, test_source, every=execution.knn_every, last=last)]
    images = batches.steps_per_epoch * config.batch_size
    callbacks = run.callbacks(images, every_steps=execution.checkpoint_every_steps)
    model.fit(
        batches,
        epochs=config.epochs,
        initial_epoch=position.epoch,
        initial_batch=position.batch,
        callbacks=[Health(source, run.folder), *monitors, *callbacks],
        verbose="auto" if distribute.is_chief() else 0,
    )


def _load_test(config, source):
    if config.test_data is None:
        return None
    test = build.load_data(config.test_data, config)
    for images in (source, test):
        if not images.has_labels:
            raise ValueError(
                "--test_data measures k-NN accuracy, for which all images need labels; "
                f"{images.name} has none. Leave --test_data out, or give class folders."
            )
    return test
