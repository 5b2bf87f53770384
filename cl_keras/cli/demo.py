"""Shows the whole workflow on the bundled images."""

import io

import numpy as np
import tensorflow as tf
from PIL import Image

from cl_keras import data, evaluation, export, pretraining
from cl_keras.cli.commands import Demo
from cl_keras.recipes.config import Config, Execution


def demo_config(seed: int) -> Config:
    """SimCLR with the small preset."""
    return Config(
        data="fashion_mnist_mini",
        test_data="fashion_mnist_mini/test",
        method="simclr",
        preset="small",
        epochs=10,
        seed=seed,
    )


def main(options: Demo) -> None:
    """Plans, trains, evaluates, exports and serves."""
    train_source = data.load("fashion_mnist_mini")
    test_source = data.load("fashion_mnist_mini/test")
    print(f"{len(train_source):,} images of clothes; training does not use their labels.\n")
    run = pretraining.start(demo_config(options.seed), Execution(run=options.run))
    _export_and_serve(run, train_source, test_source)
    print(f"\nThe full report is in {run.folder / 'report.html'}.")


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
        f"classified as {answer['classes'].numpy()[0].decode()!r}; it shows {names[label]!r}."
    )
