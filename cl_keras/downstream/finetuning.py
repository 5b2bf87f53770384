"""Fitting a classifier to few labels, on a frozen encoder or with all weights."""

import dataclasses
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from cl_keras.downstream.classifier import (
    USUAL_SHARE,
    Classifier,
    HeldOut,
    neighbor_distance,
)
from cl_keras.downstream.duplicates import describe, duplicates, groups
from cl_keras.evaluation import features, fit_linear_head

STRENGTHS = (0.1, 1.0, 10.0, 100.0)
"""Penalties to try; the held-out images decide."""

MAX_COMPARED = 20_000
"""Number of labeled images up to which near-duplicates are looked for, which takes some seconds."""

MIN_HELD_OUT = 10
"""With fewer held-out images than this, none are held out."""


@dataclasses.dataclass(frozen=True)
class Whole:
    """Settings for the training of all weights.

    Attributes:
        epochs: maximum number of epochs; default: 30.
        patience: epochs without a better held-out accuracy after which training stops; default: 5.
        learning_rate: initial learning rate, which follows a cosine to 0; default: 3e-4.
        batch_size: images per step; default: 32.
        flip: whether images are mirrored at random; default: False.
    """

    epochs: int = 30
    patience: int = 5
    learning_rate: float = 3e-4
    batch_size: int = 32
    flip: bool = False


def finetune(
    encoder: keras.Model,
    source: Any,
    *,
    held_out: float = 0.2,
    whole: Whole | None = None,
    seed: int = 0,
    progress: bool = True,
) -> Classifier:
    """Fits a classifier to labeled images.

    A linear head is fitted to the features of the frozen encoder, first with each penalty to choose
    the best on held-out images, then on all images. With `whole`, all weights are trained from
    there, until the held-out accuracy no longer rises; the best weights are kept. Near-duplicates,
    looked for among up to 20,000 labeled images, are held out together, so that none gives away the
    class of another.

    Args:
        encoder: a `keras.Model` from images to vectors. With `whole`, its weights change.
        source: labeled images from `data.load`; images with the label -1 are left out.
        held_out: share of each class to hold out, from 0 to 0.5; default: 0.2.
        whole: settings to train all weights; default: None, the encoder does not change.
        seed: seed of the split and the order; default: 0.
        progress: show progress bars; default: True.

    Raises:
        ValueError: no labels, fewer than two classes, or a share out of range.
    """
    if not 0 <= held_out <= 0.5:
        raise ValueError(f"held_out must be from 0 to 0.5; received {held_out!r}.")
    found = features(encoder, source, progress=progress and "encode")
    labeled = _labeled(found)
    found = found.rows(labeled)
    classes, labels = np.unique(np.asarray(found.labels), return_inverse=True)
    if len(classes) < 2:
        raise ValueError(
            f"A classifier needs images of at least 2 classes; received {len(classes)}. Give "
            "class folders, or a table of labels."
        )
    near = np.arange(len(labels))
    if len(labels) <= MAX_COMPARED:
        near = groups(duplicates(describe(source)[labeled]), len(labels))
    fitted, held = _split(labels, near, held_out, seed)
    l2, result = _best_penalty(found.vectors, labels, fitted, held, len(classes))
    rows = slice(None) if whole is None else fitted  # the held-out images stop the training
    head = fit_linear_head(found.vectors[rows], labels[rows], len(classes), l2=l2)
    if whole is not None:
        images = source.images(found.index)
        head, result = _train(encoder, head, images, labels, fitted, held, whole, seed, progress)
        vectors = features(encoder, images, progress=False).vectors
        found = dataclasses.replace(found, vectors=vectors)
    names = _names(source, classes)
    usual = _max_usual(found.vectors, fitted, held)
    return Classifier(encoder, *head, names, found.vectors, usual, result)


def _labeled(found):
    """Int `[n]`, the rows that have a label."""
    if found.labels is None:
        raise ValueError(
            f"Fine-tuning needs labels; the {len(found)} images have none. Give class folders, or "
            "labels as a table (file,label)."
        )
    return np.flatnonzero(found.labels >= 0)


def _split(labels, near, share, seed):
    """Rows to fit and rows held out, a share of each class with two or more groups of images.

    Args:
        labels: int `[n]`.
        near: int `[n]`, the group of near-duplicates of each image.
        share: share to hold out.
        seed: of the split.
    """
    generator, held = np.random.default_rng(seed), []
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        chosen, most = [], round(share * len(rows))
        for group in generator.permutation(np.unique(near[rows]))[1:]:
            own = rows[near[rows] == group]
            chosen.extend(own if len(chosen) + len(own) <= most else [])
        held.extend(chosen)
    held = np.sort(np.array(held, np.int64))
    if len(held) < MIN_HELD_OUT:
        held = held[:0]
    return np.setdiff1d(np.arange(len(labels)), held), held


def _best_penalty(vectors, labels, fitted, held, count):
    """The best penalty and its `HeldOut`; 1 and None without held-out images."""
    if not len(held):
        return 1.0, None
    results = {}
    for l2 in STRENGTHS:
        kernel, bias = fit_linear_head(vectors[fitted], labels[fitted], count, l2=l2)
        hits = (vectors[held] @ kernel + bias).argmax(axis=1) == labels[held]
        results[l2] = HeldOut.of(hits, labels[held])
    best = max(results, key=lambda l2: (results[l2].accuracy, l2))
    return best, results[best]


def _train(encoder, head, images, labels, fitted, held, whole, seed, progress):
    """Trains all weights from a fitted head; returns (kernel, bias) and the `HeldOut`."""
    keras.utils.set_random_seed(seed)
    layer = keras.layers.Dense(len(head[1]), name="classes")
    inputs = keras.Input(encoder.input_shape[1:])
    encoder.trainable = True
    model = keras.Model(inputs, layer(encoder(inputs)))
    layer.set_weights(head)
    batch = min(whole.batch_size, len(fitted))
    steps = whole.epochs * -(-len(fitted) // batch)
    rate = keras.optimizers.schedules.CosineDecay(whole.learning_rate, steps)
    model.compile(
        keras.optimizers.AdamW(rate, weight_decay=1e-4),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    dataset = tf.data.Dataset.from_tensor_slices((images[fitted], labels[fitted]))
    dataset = dataset.shuffle(len(fitted), seed=seed).batch(batch)
    if whole.flip:
        dataset = dataset.map(lambda x, y: (tf.image.random_flip_left_right(x, seed=seed), y))
    stop, checks = [], None
    if len(held):
        checks = tf.data.Dataset.from_tensor_slices((images[held], labels[held])).batch(256)
        stop = [
            keras.callbacks.EarlyStopping(
                "val_accuracy", mode="max", patience=whole.patience, restore_best_weights=True
            )
        ]
    options = {"validation_data": checks, "callbacks": stop, "verbose": 2 if progress else 0}
    options["shuffle"] = False  # the dataset is shuffled already
    model.fit(dataset, epochs=whole.epochs, **options)
    result = None
    if len(held):
        hits = model.predict(images[held], verbose=0).argmax(axis=1) == labels[held]
        result = HeldOut.of(hits, labels[held])
    kernel, bias = layer.get_weights()
    return (kernel, bias), result


def _names(source, classes):
    names = getattr(source, "class_names", None)
    return [str(names[label]) if names and label < len(names) else str(label) for label in classes]


def _max_usual(vectors, fitted, held):
    """The distance of most held-out images, or of most fitted ones if none are held out."""
    if len(held):
        distance = neighbor_distance(vectors[fitted], vectors[held])
    else:
        distance = neighbor_distance(vectors, vectors, skip=1)
    return float(np.quantile(distance, USUAL_SHARE))
