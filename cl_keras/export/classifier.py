"""A classifier on the embedding, for the signature `classify`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf


class Classifier:
    """Maps embeddings to the probabilities and names of classes.

    Args:
        head: (kernel `[width, classes]`, bias `[classes]`), or a built Keras layer or model that
            gives logits.
        width: width of the embedding.
        class_names: a name for each class; default: None, their indices.

    Raises:
        ValueError: if the head has another width, gives no logits, or has another number of names.
    """

    def __init__(self, head: Any, width: int, class_names: Sequence[str] | None = None):
        self.layer = head if isinstance(head, keras.layers.Layer) else _dense(head, width)
        classes = _count_classes(self.layer, width)
        names = range(classes) if class_names is None else class_names
        self.names = [str(name) for name in names]
        if len(self.names) != classes:
            raise ValueError(
                f"class_names must name the {classes} classes of the head; "
                f"received {len(self.names)} names."
            )
        if len(set(self.names)) < classes:
            raise ValueError(f"class_names must differ; received {self.names[:10]}.")

    def __call__(self, embedding: tf.Tensor) -> dict[str, tf.Tensor]:
        """The outputs of the signature for embeddings `[b, width]`."""
        logits = tf.cast(self.layer(embedding, training=False), tf.float32)
        best = tf.argmax(logits, axis=1)
        return {
            "probabilities": tf.nn.softmax(logits),
            "class_ids": best,
            "classes": tf.gather(tf.constant(self.names), best),
        }


def _count_classes(layer, width):
    last = layer.layers[-1] if isinstance(layer, keras.Model) else layer
    softmax = getattr(last, "activation", None) is keras.activations.softmax
    if softmax or isinstance(last, keras.layers.Softmax):
        raise ValueError("head must give logits, but its last layer applies softmax. Leave it out.")
    if not layer.built:
        raise ValueError(f"head must be built; call it on vectors [b, {width}] first.")
    try:
        shape = layer(tf.zeros([1, width]), training=False).shape
    except (ValueError, tf.errors.InvalidArgumentError) as error:
        raise ValueError(
            f"head must take embeddings of width {width}; {layer.name!r} does not: {error}"
        ) from error
    if len(shape) != 2:
        raise ValueError(f"head must give logits [b, classes]; received {tuple(shape)}.")
    return shape[1]


def _dense(head, width):
    try:
        kernel, bias = (np.asarray(array, "float32") for array in head)
    except (TypeError, ValueError) as error:
        raise ValueError(
            "head must be (kernel [d, classes], bias [classes]) or a built Keras layer; "
            f"received {type(head).__name__}."
        ) from error
    if kernel.ndim != 2 or kernel.shape[0] != width or bias.shape != kernel.shape[1:]:
        raise ValueError(
            f"head must be a kernel [{width}, classes] and a bias [classes]; received shapes "
            f"{kernel.shape} and {bias.shape}."
        )
    if not (np.isfinite(kernel).all() and np.isfinite(bias).all()):
        raise ValueError("head must be finite; received NaN or infinity in its kernel or bias.")
    layer = keras.layers.Dense(len(bias), dtype="float32", name="classifier")
    layer.build([None, width])
    layer.set_weights([kernel, bias])
    return layer
