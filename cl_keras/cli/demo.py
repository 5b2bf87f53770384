"""Shows the whole of it on the bundled images: about three minutes on two CPU cores.

  cl-keras demo --run=runs/demo

Trains SimCLR without labels, measures it beside its baselines, exports the encoder, serves one
image from the export, and writes a report. Once trained, the same command only measures again.
"""

import io

import numpy as np
import tensorflow as tf
from absl import flags as absl_flags
from PIL import Image

from cl_keras import data, evaluation, export
from cl_keras.cli import pretrain
from cl_keras.cli.evaluate import evaluate
from cl_keras.runs import Run

FLAGS = [
    "--data=fashion_mnist_mini",
    "--test_data=fashion_mnist_mini/test",
    "--encoder=small_resnet",
    "--batch_size=128",
    "--epochs=10",
    "--optimizer=adamw",
    "--learning_rate=0.003",
    "--weight_decay=0.004",
    "--warmup_epochs=0.25",
    "--temperature=0.2",
]
"""The settings that learned fastest on two cores."""


def define_flags(flags):
    """Declares the flags of the command."""
    absl_flags.DEFINE_string("run", "runs/demo", "Folder of the run.", flag_values=flags)
    absl_flags.DEFINE_integer(
        "seed", 0, "Of the weights, the order and the views.", flag_values=flags
    )


def main(flags):
    """Trains, measures, exports, serves."""
    train_source = data.load("fashion_mnist_mini")
    test_source = data.load("fashion_mnist_mini/test")
    config = demo_config(flags.seed) | {"images": len(train_source)}
    print(f"Training on {len(train_source)} images of clothes, without their labels.")
    with Run(flags.run, config).locked() as run:
        pretrain.train(run, train_source)
        print("\nMeasuring, the baselines beside it.")
        evaluate(run, train_source, test_source)
        _export_and_serve(run, train_source, test_source)


def demo_config(seed):
    """The configuration that `pretrain` makes of the demo's flags."""
    flags = absl_flags.FlagValues()
    pretrain.define_flags(flags)
    flags(["pretrain", "--run=", *FLAGS, f"--seed={seed}"])
    return pretrain.config_of(flags)


def _export_and_serve(run, train_source, test_source):
    encoder = run.load_encoder()
    found = evaluation.features(encoder, train_source, progress=False)
    head = evaluation.fit_linear_head(found.vectors, found.labels)
    names = train_source.class_names
    path = export.saved_model(encoder, run.folder / "export", head=head, class_names=names)
    print(f"The SavedModel is in {path}.")

    served = tf.saved_model.load(str(path)).signatures
    image, label = test_source.images([0]), test_source.labels[0]
    png = io.BytesIO()
    Image.fromarray(image[0, :, :, 0]).save(png, "PNG")
    embedding = served["serve_bytes"](bytes=tf.constant([png.getvalue()]))["embedding"]
    answer = served["classify"](images=tf.constant(image))
    gap = np.abs(embedding - encoder(image, training=False)).max()
    print(
        f"Served one PNG from it: {embedding.shape[1]} numbers, at most {gap:.0e} from Keras; "
        f"classified as {answer['classes'].numpy()[0].decode()!r}, which is {names[label]!r}."
    )
