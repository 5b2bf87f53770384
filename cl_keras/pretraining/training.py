"""Trains a run, from the options that the user gave to the encoder."""

import json
import os
import pathlib
import tempfile
import time
from typing import Any

import keras
import tensorflow as tf

from cl_keras import data, distribute
from cl_keras.callbacks import Health, Samples
from cl_keras.evaluation import KNNMonitor
from cl_keras.pretraining import choices, initial, judgment, sources, teachers, timing
from cl_keras.pretraining import plan as plans
from cl_keras.pretraining.machine import this_machine
from cl_keras.pretraining.progress import Progress
from cl_keras.recipes import build, signatures
from cl_keras.recipes.config import Config, Execution
from cl_keras.runs import Run

MEASUREMENTS = 10
"""Default number of times that the k-NN accuracy is measured during training."""

MAX_MONITORED, MAX_JUDGED = 10_000, 20_000
"""Maximum number of training images for the k-NN accuracy during training, and for the verdict;
`cl-keras evaluate --run` uses all of them."""

GLANCE_SIDE = 64
"""Side in pixels to which images are resized for the first look, if no size is given."""


def pretrain(
    images: str | os.PathLike,
    out: str | os.PathLike,
    *,
    minutes: float | None = None,
    **options: Any,
) -> Run:
    """Trains an encoder on images without labels; options not given are chosen from the images.

        run = cl.pretrain("folder:photos", out="runs/photos", minutes=20)
        encoder = run.load_encoder()

    The plan is printed before training begins. The same call resumes a run that was stopped; the
    final weights are those of an uninterrupted run.

    Args:
        images: `"folder:PATH"`, `"tfds:NAME/SPLIT"`, `"fashion_mnist_mini"`, or a `pathlib.Path`.
        out: folder of the run.
        minutes: duration of the whole call; default: 20 if neither epochs nor method is given,
            otherwise no limit.
        **options: any other option of `cl-keras pretrain`, such as `method="moco"`.

    Returns:
        The finished `Run`.

    Raises:
        TypeError: for an option that does not exist.
        ValueError: if an option is not valid, or the run in `out` has another configuration.
        OSError: if the images cannot be read, or `out` cannot be written.
    """
    images = f"folder:{os.fspath(images)}" if isinstance(images, os.PathLike) else images
    names = {field.name for field in Execution.__dataclass_fields__.values()}
    carried_out = {name: value for name, value in options.items() if name in names}
    rest = {name: value for name, value in options.items() if name not in names}
    config = Config.from_dict({"data": images, "minutes": minutes, **rest}, "pretrain")
    return start(config, Execution(run=os.fspath(out), **carried_out))


def start(config: Config, execution: Execution, began: float | None = None) -> Run:
    """Plans and trains a new run, or resumes an existing one.

    Everything is built, and thereby checked, before anything is written.

    Args:
        config: the options that the user gave; the others are chosen.
        execution: the folder of the run, and options that do not change its result.
        began: `time.perf_counter()` when the command began, for the plan; default: now.

    Raises:
        ValueError: if the configuration is not valid, or differs from that of the existing run.
        OSError: if another process uses the run, or the folder cannot be written.
    """
    began = time.perf_counter() if began is None else began
    # First, since with several workers it must precede any other TensorFlow call.
    strategy = distribute.strategy(execution.strategy, execution.devices)
    saved = _saved_config(execution.run)
    if saved is None:
        config, source, test_source = _planned(config, execution, strategy, began)
    else:
        config = config.completed_by(saved)
        source, test_source = sources.load(config)
        config = build.resolve(config, len(source), source.image_shape)
    run = train(config, execution, source, test_source, strategy)
    if test_source is not None and distribute.is_chief():
        print("\nEvaluating the encoder and the baselines.", flush=True)
        judgment.judge(run, *_judged(source, test_source))
    return run


def train(
    config: Config,
    execution: Execution,
    source: data.Source,
    test_source: data.Source | None = None,
    strategy: tf.distribute.Strategy | None = None,
) -> Run:
    """Trains the model of a resolved configuration.

    Args:
        config: a resolved `Config`.
        execution: the folder of the run, and options that do not change its result.
        source: images to train on.
        test_source: images whose k-NN accuracy is logged, if both have labels; default: none.
        strategy: a result of `distribute.strategy`; default: None, one device.

    Returns:
        The finished `Run`.
    """
    model, batches = _model_and_batches(config, execution, source, strategy)
    model.check_data(batches)
    run = Run(
        execution.run,
        config.to_dict(),
        images=source.identity(),
        allow_changed_images=_may_change_images(config, execution),
        keep=execution.keep_checkpoints,
    )
    with run.locked():
        _fit(run, model, batches, config, execution, source, test_source)
        if source.skipped and distribute.is_chief():
            path = run.folder / "skipped.txt"
            data.write_skipped(source, path)
            print(f"{len(source.skipped)} files could not be read; they are listed in {path}.")
        run.save_encoder(model.encoder)
    print(f"The encoder is in {run.encoder_path}.")
    return run


def _may_change_images(config, execution):
    if execution.allow_changed_images and signatures.takes(config.method, "num_images"):
        raise ValueError(
            f"--allow_changed_images does not work with {config.method}, which keeps a row per "
            "image: the rows would belong to other images."
        )
    return execution.allow_changed_images


def _saved_config(folder):
    """The configuration of the run in a folder, or None if there is no run."""
    path = pathlib.Path(folder) / "config.json"
    try:
        values = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return None
    except NotADirectoryError:
        raise NotADirectoryError(f"--run must be a folder; {folder} is inside a file.") from None
    except ValueError as error:
        raise ValueError(
            f"{path} is damaged ({error}). Restore it from a copy, or give another --run folder."
        ) from None
    return Config.from_dict(values, str(path))


def _planned(config, execution, strategy, began):
    """Plans a new run, and prints the plan.

    Returns:
        The resolved configuration, the training images, and the test images or None.
    """
    if config.init not in (None, initial.NONE):
        config = initial.with_its_encoder(config, initial.load(config.init))
    looked_at = config.replace(image_size=config.image_size or GLANCE_SIDE)
    source = build.load_data(config.data, looked_at, progress=False)
    summary, machine = source.summary(), this_machine()
    chosen = choices.choose(config, summary, machine)
    if chosen.init is None:
        chosen = chosen.replace(init=initial.suggest(chosen, len(source)))
    while True:
        plan, source, test_source = _plan(chosen, summary, machine, execution, strategy, began)
        size = choices.smaller_size(config, plan.config)
        if size is None:
            break
        chosen = chosen.replace(image_size=size)
    if distribute.is_chief():
        print(plan, flush=True)
    return plan.config, source, test_source


def _plan(chosen, summary, machine, execution, strategy, began):
    """The plan, timed if minutes are given, the training images, and the test images or None."""
    source, test_source = sources.load(chosen)
    config = build.resolve(chosen, len(source), source.image_shape)
    keras.config.set_dtype_policy(config.precision)
    model, batches = _model_and_batches(config, execution, source, strategy)
    steps, minutes = batches.steps_per_epoch, None
    if config.minutes is not None:
        costs = _costs(execution, config, model, batches, source, test_source, began)
        monitored = MEASUREMENTS if _is_monitored(source, test_source) else 0
        if chosen.epochs is None:
            epochs = costs.epochs_within(config.minutes, steps, monitored)
            chosen = chosen.replace(epochs=epochs)
            config = build.resolve(chosen, len(source), source.image_shape)
        minutes = costs.total(config.epochs, steps, min(monitored, config.epochs)) / 60
    plan = plans.Plan(
        config=config,
        summary=summary,
        machine=machine,
        parameters=model.encoder.count_params(),
        views=model.views,
        steps=config.epochs * steps,
        minutes=minutes,
    )
    return plan, source, test_source


def _costs(execution, config, model, batches, source, test_source, began):
    """Measures the `timing.Costs` of a run; the model cannot be used afterwards."""
    if distribute.num_workers() > 1:
        raise ValueError(
            "Each of several workers would choose another number of epochs, from its own timings. "
            "Give --epochs and --method instead of --minutes."
        )
    with tempfile.TemporaryDirectory() as folder:
        run = Run(pathlib.Path(folder) / "run", config.to_dict())
        with run.locked():
            callbacks = _callbacks(run, batches, config, execution)
            startup, step, epoch = timing.of_training(model, batches, callbacks)
    health = timing.of_health(model, source)
    found = {"step": step, "epoch": epoch}
    if test_source is not None:
        encoding = timing.of_encoding(model.encoder, source)
        width = model.encoder.output_shape[-1]
        bank, queries = _judged(source, test_source)
        found["judging"] = timing.of_judging(encoding, width, bank, queries)
        if _is_monitored(source, test_source):
            bank, queries = _monitored(source, test_source)
            pairs = len(bank) * len(queries)
            encoded = (len(bank) + len(queries)) * encoding[1]
            found["monitor"] = encoded + pairs * timing.of_neighbors(width)
    once = time.perf_counter() - began + startup + health
    return timing.Costs(once=once, **found)


def _is_monitored(source, test_source):
    """Whether the k-NN accuracy can be measured during training."""
    return test_source is not None and source.has_labels and test_source.has_labels


def _monitored(source, test_source):
    """The images for the k-NN accuracy during training."""
    return sources.some(source, MAX_MONITORED), sources.some(test_source, MAX_MONITORED // 5)


def _judged(source, test_source):
    """The images for the verdict."""
    return sources.some(source, MAX_JUDGED), sources.some(test_source, MAX_JUDGED // 4)


def _model_and_batches(config, execution, source, strategy):
    keras.config.set_dtype_policy(config.precision)
    batches = source.batches(config.batch_size, seed=config.seed)
    if execution.data_service:
        batches = batches.from_service(execution.data_service)
    with (strategy or tf.distribute.get_strategy()).scope():
        teacher = None if config.teacher is None else teachers.load(config.teacher)
        steps = batches.steps_per_epoch
        model = build.make_model(config, source.image_shape, steps, teacher=teacher)
        if config.init not in (None, initial.NONE):
            initial.fill(model.encoder, initial.load(config.init), config.init)
    return model, batches


def _fit(run, model, batches, config, execution, source, test_source):
    position = run.checkpoints.restore(model)
    if position:
        within = f" and {position.batch} steps" if position.batch else ""
        done = f"{position.epoch} of {config.epochs} epochs{within} are done"
        print(f"{run.folder}: {done}; resuming from there.")
    if position.epoch >= config.epochs:
        return
    monitors = []
    if _is_monitored(source, test_source):
        measured = run.metrics().get("knn", [])[: position.epoch]
        last = measured[-1] if measured else None
        every = execution.knn_every or max(1, round(config.epochs / MEASUREMENTS))
        monitors = [KNNMonitor(*_monitored(source, test_source), every=every, last=last)]
    steps = batches.steps_per_epoch
    callbacks = _callbacks(run, batches, config, execution)
    shown = [Progress(epochs=config.epochs, steps_per_epoch=steps)] if distribute.is_chief() else []
    model.fit(
        batches,
        epochs=config.epochs,
        initial_epoch=position.epoch,
        initial_batch=position.batch,
        callbacks=[
            Health(source, run.folder),
            Samples(source, run.folder / "tensorboard" / "samples"),
            *monitors,
            *shown,
            *callbacks,
        ],
        verbose=0,
    )


def _callbacks(run, batches, config, execution):
    """The callbacks that write the run."""
    images = batches.steps_per_epoch * config.batch_size
    return run.callbacks(images, every_steps=execution.checkpoint_every_steps)
