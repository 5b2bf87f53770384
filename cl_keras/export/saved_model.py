"""Exports an encoder as a SavedModel for TensorFlow Serving."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from cl_keras import encoders
from cl_keras.bounds import check_image_size
from cl_keras.data import pixels
from cl_keras.export import images as image_ops
from cl_keras.export import versions
from cl_keras.export import warmup as warmup_file
from cl_keras.export.classifier import Classifier
from cl_keras.training import PretextModel

CLASSES_FILE = "assets.extra/classes.json"
_CHANNELS = (
    "`images` must be uint8 [batch, height, width, {}], for which the encoder was made. Composite "
    "images with transparency on white first, or send the files to `serve_bytes`. Channels "
    "received:"
)
WARMUP_SIDE = 64
"""Side in pixels of the warm-up images if the encoder has no fixed size."""


def saved_model(
    model: keras.Model,
    path: str | os.PathLike,
    *,
    image_size: int | None = None,
    head: Any = None,
    class_names: Sequence[str] | None = None,
    warmup: bool = True,
) -> Path:
    """Writes the encoder of a model as the next version below `path`.

    The layout is that of TensorFlow Serving: `path/1`, then `path/2`, and so on, each complete as
    soon as it appears. Loading it needs TensorFlow 2.15 or later but no Keras, and serving never
    changes its variables. Its signatures:

    - `serving_default`: `images` uint8 `[batch, height, width, channels]` to `embedding` float32
      `[batch, D]`;
    - `serve_bytes`: `bytes` string `[batch]`, encoded images of any sizes, to `embedding` and
      `error` string `[batch]`;
    - `classify`, if there is a `head`: `images` to `probabilities` float32 `[batch, classes]`,
      `class_ids` int64 `[batch]` and `classes` string `[batch]`.

    `serve_bytes` handles every image independently. `error` is empty for an embedded image;
    otherwise it says what is wrong, and the row of `embedding` is NaN. Files are decoded exactly as
    in training: JPEG, PNG, GIF, BMP and WebP (from TensorFlow 2.16 on), rotated by their EXIF
    orientation, with transparency on white, and only the first frame of an animation. Files that
    would be decoded differently are refused by name in both: HEIC, AVIF, rare kinds of JPEG, PNG
    and BMP. So are images of more than 25 megapixels (a WebP: 12.5; a JPEG that is not progressive:
    50). TIFF can be used for training, but is refused here; `data.load` and `cl-keras export` warn
    about such files.

    Images of another size than the encoder's are resized as in training: the largest centered
    square, bilinearly with antialiasing.

    `class_ids` and `classes` are the index and the name of the most probable class, named as in the
    predict signature of TensorFlow's Estimators; there is one per image, so that the server can
    batch. The order of `probabilities` is written to `assets.extra/classes.json`.

    Args:
        model: a `training.PretextModel`, whose encoder is exported without heads or queues, or any
            `keras.Model` from images to vectors.
        path: folder of the versions; created if missing.
        image_size: side in pixels, 1 to 4096; default: None, the size that the encoder was made
            for, or if it has none, that of each image.
        head: a classifier on the embedding: (kernel `[d, classes]`, bias `[classes]`), or a built
            Keras layer or model that gives logits; default: None.
        class_names: a name for each class; default: None, their indices.
        warmup: write warm-up requests for TensorFlow Serving; default: True.

    Returns:
        `pathlib.Path` of the new version.

    Raises:
        TypeError: if `model` is not a `keras.Model`.
        ValueError: if it gives no vectors, has another fixed size, or the head does not match.
        OSError: if `path` is a file, or cannot be written.
    """
    encoder = model.encoder if isinstance(model, PretextModel) else encoders.as_encoder(model)
    channels, width = encoder.input_shape[-1], encoder.output_shape[-1]
    if channels not in (1, 3):
        raise ValueError(
            f"Only encoders of 1 or 3 channels can be exported; {encoder.name!r} takes {channels}."
        )
    if head is None and class_names is not None:
        raise ValueError("class_names are for the classes of a head; give head too.")
    classifier = None if head is None else Classifier(head, width, class_names)
    side = _side(encoder, image_size)
    archive = _archive(encoder, side, classifier)

    def build(folder):
        archive.write_out(str(folder), verbose=False)
        (folder / "assets.extra").mkdir()
        if classifier:
            names = json.dumps(classifier.names, ensure_ascii=False)
            (folder / CLASSES_FILE).write_text(names, encoding="utf-8")
        if warmup:
            warmup_file.write(folder, _requests(channels, side, classifier))

    return versions.add(Path(path), build)


def _side(encoder, image_size):
    """Side of the images for the encoder, or None for any."""
    side = encoders.image_size(encoder) if image_size is None else check_image_size(image_size)
    fixed = encoder.input_shape[1:3]
    if any(length not in (None, side) for length in fixed):
        raise ValueError(
            f"image_size must be that of the encoder {encoder.name!r}, which takes images of "
            f"{fixed[0]}x{fixed[1]} pixels; received {side}. (Only squares can be exported.)"
        )
    return side


def _archive(encoder, side, classifier):
    """The signatures, traced in inference mode."""
    channels, width = encoder.input_shape[-1], encoder.output_shape[-1]

    def embed(images):
        count = tf.shape(images)[0]
        # Convolutions crash on an empty batch, so a row is added and removed again.
        images = tf.pad(images, [[0, tf.cast(count == 0, tf.int32)], [0, 0], [0, 0], [0, 0]])
        images = pixels.square(images, side) if side else images
        return tf.cast(encoder(images, training=False), tf.float32)[:count]

    def embed_images(images):
        received = tf.shape(images)[-1]
        wanted = tf.debugging.Assert(received == channels, [_CHANNELS.format(channels), received])
        with tf.control_dependencies([wanted]):
            return embed(tf.ensure_shape(tf.identity(images), [None, None, None, channels]))

    def embed_bytes(contents):
        nothing, unknown = tf.fill([width], np.nan), tf.constant(image_ops.UNDECODABLE)
        nothing = tf.cast(nothing, tf.float32)
        if side:  # decoded one by one, embedded together
            images, errors = image_ops.attempt_each(
                image_ops.decoder(channels, side),
                contents,
                (tf.zeros([side, side, channels], tf.uint8), unknown),
            )
            embedding = tf.where(errors[:, tf.newaxis] == "", embed(images), nothing)
            return {"embedding": embedding, "error": errors}

        def embed_one(one):
            image, error = image_ops.decoder(channels)(one)
            fine = error == ""
            return tf.cond(fine, lambda: embed(image[tf.newaxis])[0], lambda: nothing), error

        embedding, errors = image_ops.attempt_each(embed_one, contents, (nothing, unknown))
        return {"embedding": embedding, "error": errors}

    # The channels are left open, to report a wrong number of them with our own message.
    images = tf.TensorSpec([None, None, None, None], tf.uint8, name="images")
    contents = tf.TensorSpec([None], tf.string, name="bytes")
    archive = keras.export.ExportArchive()
    archive.track(encoder)
    archive.add_endpoint(
        "serving_default", lambda images: {"embedding": embed_images(images)}, [images]
    )
    archive.add_endpoint("serve_bytes", lambda bytes: embed_bytes(bytes), [contents])
    if classifier:
        archive.track(classifier.layer)
        archive.add_endpoint("classify", lambda images: classifier(embed_images(images)), [images])
    return archive


def _requests(channels, side, classifier):
    """One request for each signature, of black images."""
    image = np.zeros([side or WARMUP_SIDE, side or WARMUP_SIDE, channels], "uint8")
    encoded = [tf.io.encode_png(image).numpy(), tf.io.encode_jpeg(image).numpy()]
    requests = [
        ("serving_default", {"images": image[None]}),
        ("serve_bytes", {"bytes": np.array(encoded, object)}),
    ]
    return requests + ([("classify", {"images": image[None]})] if classifier else [])
