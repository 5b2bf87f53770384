"""Trains an encoder on images without labels, and writes a run folder.

  cl-keras pretrain --data=folder:photos --image_size=96 --run=runs/photos

The run folder holds the configuration, the versions, metrics.csv, TensorBoard's logs,
checkpoints, the files that could not be read, and at the end encoder.keras. The same command
takes a stopped run up where its last checkpoint is, and ends with the same weights as if it had
not been stopped. SIGTERM and ctrl-C save a checkpoint first. Another configuration on an existing
run is refused.
"""

import json

import keras
import tensorflow as tf
from absl import flags as absl_flags

from cl_keras import data, distribute
from cl_keras.evaluation import KNNMonitor
from cl_keras.runs import Run, recipe

PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")


def define_flags(flags):
    """Declares the flags of the command."""
    own = {"flag_values": flags}
    absl_flags.DEFINE_string("run", None, "Required. Folder of the run.", **own)
    absl_flags.DEFINE_string(
        "data",
        None,
        'Required. The images: "folder:PATH", "tfds:NAME/SPLIT", or "fashion_mnist_mini".',
        **own,
    )
    absl_flags.DEFINE_string(
        "test_data", None, "Labelled images: their k-NN accuracy is logged as it grows.", **own
    )
    absl_flags.DEFINE_integer(
        "image_size", None, "Side in pixels; needed where images differ in size.", **own
    )
    absl_flags.DEFINE_enum("channels", None, ["1", "3"], "Grey or RGB; default: as it is.", **own)
    absl_flags.DEFINE_float(
        "max_bad_share", 0.05, "Share of unreadable files above which to stop.", **own
    )
    absl_flags.DEFINE_enum("method", "simclr", list(recipe.METHODS), "The method.", **own)
    absl_flags.DEFINE_enum("encoder", "resnet18", list(recipe.ENCODERS), "The encoder.", **own)
    absl_flags.DEFINE_enum(
        "head", None, ["v1", "v2"], "Projection head of that version, of a method with both.", **own
    )
    absl_flags.DEFINE_string(
        "method_options",
        "{}",
        "More arguments of the method, as JSON: '{\"queue_size\": 4096}'.",
        **own,
    )
    absl_flags.DEFINE_string(
        "views",
        "{}",
        "Changes to the preset of the views, as JSON: "
        '\'{"crop_area": [0.2, 1.0], "hue": 0.1}\'; the names are those of the class in views.',
        **own,
    )
    absl_flags.DEFINE_float("temperature", None, "Of the loss; default: the method's.", **own)
    absl_flags.DEFINE_integer("batch_size", 256, "Images a step.", lower_bound=2, **own)
    absl_flags.DEFINE_integer("epochs", 100, "Passes over the images.", lower_bound=1, **own)
    absl_flags.DEFINE_enum("optimizer", "lars", recipe.OPTIMIZERS, "The optimizer.", **own)
    absl_flags.DEFINE_float(
        "learning_rate",
        None,
        "Its peak; default: 0.3·batch/256 (lars), 0.03·batch/256 (sgd), else 0.001.",
        **own,
    )
    absl_flags.DEFINE_float("weight_decay", 1e-6, "Weight decay.", lower_bound=0.0, **own)
    absl_flags.DEFINE_float(
        "warmup_epochs",
        None,
        "Epochs of rising learning rate; default: 10, at most a tenth.",
        **own,
    )
    absl_flags.DEFINE_enum("precision", "float32", PRECISIONS, "Precision of the layers.", **own)
    absl_flags.DEFINE_integer("seed", 0, "Of the weights, the order and the views.", **own)
    absl_flags.DEFINE_integer(
        "knn_every", 1, "Epochs between measures on --test_data.", lower_bound=1, **own
    )
    absl_flags.DEFINE_integer(
        "checkpoint_every_steps",
        None,
        "Steps between checkpoints within an epoch, beside the one after each; "
        "default: ten minutes.",
        lower_bound=1,
        **own,
    )
    absl_flags.DEFINE_integer(
        "keep_checkpoints", 2, "Newest checkpoints to keep, beside the best.", lower_bound=1, **own
    )
    absl_flags.DEFINE_string(
        "strategy",
        "auto",
        "auto, cpu, gpu, mirrored (all GPUs of this machine) or multiworker (the workers of "
        "TF_CONFIG or Slurm); auto takes what is there. The result is the same.",
        **own,
    )
    absl_flags.DEFINE_string("devices", None, 'Of the machine, these alone: "gpu:0,gpu:1".', **own)
    absl_flags.DEFINE_string(
        "data_service",
        None,
        'Dispatcher of a tf.data service that reads the images, "grpc://HOST:PORT"; for tfds:… '
        "alone.",
        **own,
    )
    for name in ("run", "data"):
        absl_flags.mark_flag_as_required(name, flag_values=flags)


def main(flags):
    """Trains, or goes on training."""
    # First of all: over several workers it must come before anything that TensorFlow does.
    strategy = distribute.strategy(flags.strategy, flags.devices)
    config = config_of(flags)
    source = recipe.load_data(config["data"], config)
    config["images"] = len(source)
    with Run(flags.run, config, keep=flags.keep_checkpoints).locked() as run:
        train(
            run,
            source,
            strategy=strategy,
            service=flags.data_service,
            knn_every=flags.knn_every,
            checkpoint_every=flags.checkpoint_every_steps,
        )


def config_of(flags):
    """Everything that decides the result, as plain values."""
    config = {
        name: getattr(flags, name)
        for name in (
            "data",
            "test_data",
            "image_size",
            "max_bad_share",
            "method",
            "encoder",
            "head",
            "temperature",
            "batch_size",
            "epochs",
            "optimizer",
            "weight_decay",
            "precision",
            "seed",
        )
    }
    rate, warmup = flags.learning_rate, flags.warmup_epochs
    default_rate = recipe.default_learning_rate(flags.optimizer, flags.batch_size)
    return config | {
        "channels": int(flags.channels) if flags.channels else None,
        "views": _json_object("views", flags.views),
        "method_options": _json_object("method_options", flags.method_options),
        "learning_rate": default_rate if rate is None else rate,
        "warmup_epochs": recipe.default_warmup(flags.epochs) if warmup is None else warmup,
    }


def train(run, source, *, strategy=None, service=None, knn_every=1, checkpoint_every=None):
    """Trains the model of a run's configuration to its end, from its last checkpoint.

    Args:
        run: a `Run` that this process has locked.
        source: the images.
        strategy: of `distribute.strategy`; default: one device.
        service: address of a tf.data service that reads the images.
        knn_every: epochs between measures on the labelled test images.
        checkpoint_every: steps within an epoch between checkpoints; default: ten minutes.
    """
    config = run.config
    keras.config.set_dtype_policy(config["precision"])
    batches = source.batches(config["batch_size"], seed=config["seed"])
    if service:
        batches = batches.from_service(service)
    with (strategy or tf.distribute.get_strategy()).scope():
        model = recipe.make_model(config, source.image_shape, batches.steps_per_epoch)
    place = run.checkpoints.restore(model)
    if place:
        within = f" and {place.batch} steps" if place.batch else ""
        done = f"{place.epoch} of {config['epochs']} epochs{within} are done"
        print(f"{run.folder}: {done}; going on from there.")
    if place.epoch < config["epochs"]:
        measured = run.metrics().get("knn", [])[: place.epoch]
        last = measured[-1] if measured else None
        images = batches.steps_per_epoch * config["batch_size"]
        callbacks = run.callbacks(images, every_steps=checkpoint_every)
        model.fit(
            batches,
            epochs=config["epochs"],
            initial_epoch=place.epoch,
            initial_batch=place.batch,
            callbacks=[*_monitors(config, source, knn_every, last), *callbacks],
            verbose="auto" if distribute.is_chief() else 0,
        )
    if source.skipped and distribute.is_chief():
        path = run.folder / "skipped.txt"
        data.write_skipped(source, path)
        print(f"{len(source.skipped)} files could not be read; {path} lists them.")
    run.save_encoder(model.encoder)
    print(f"The encoder is in {run.encoder_path}.")


def _monitors(config, source, every, last):
    if config["test_data"] is None:
        return []
    test = recipe.load_data(config["test_data"], config)
    for part in (source, test):
        if not part.has_labels:
            raise ValueError(
                f"--test_data needs labels in it and in --data, to measure k-NN; {part.name} has "
                "none. Leave --test_data out, or give class folders."
            )
    return [KNNMonitor(source, test, every=every, last=last)]


def _json_object(flag, text):
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"--{flag} must be JSON; received {text!r} ({error}).") from None
    if not isinstance(value, dict):
        raise ValueError(f"--{flag} must be a JSON object of names and values; received {text!r}.")
    return value
