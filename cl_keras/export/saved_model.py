"""An encoder as a SavedModel, ready for TensorFlow Serving."""

import json
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from cl_keras import encoders
from cl_keras.export import images as image_ops
from cl_keras.export import versions
from cl_keras.export import warmup as warmup_file
from cl_keras.export.classifier import Classifier
from cl_keras.training import PretextModel

CLASSES_FILE = "assets.extra/classes.json"
WARMUP_SIDE = 64
"""Side in pixels of the warm-up images where the encoder has no size of its own."""


def saved_model(model, path, *, image_size=None, head=None, class_names=None, warmup=True):
    """Write the encoder of a model as the next version below `path`.

    The result is what TensorFlow Serving expects: `path/1`, then `path/2`, and so on, each complete
    from the moment that it appears. Loading it needs no Keras, and serving never changes its
    variables. Its signatures:

    - `serving_default`: `images` uint8 `[batch, height, width, channels]` to `embedding` float32
      `[batch, D]`;
    - `serve_bytes`: `bytes` string `[batch]`, encoded images, to the same;
    - `classify`, if there is a `head`: `images` to `probabilities` float32 `[batch, classes]`,
      `class_ids` int64 `[batch]` and `classes` string `[batch]`.

    `class_ids` and `classes` are the index and the name of the most probable class, called as in
    the predict signature of TensorFlow's Estimators; one for each image, so that the server can
    batch. The order of `probabilities` is written to `assets.extra/classes.json`.

    Images of another size than the encoder's are brought to it as the data layer does it: the
    largest centred square, resized bilinearly with antialiasing. `bytes` are encoded images, of any
    sizes in one request: JPEG and PNG (EXIF orientation followed, transparency laid on white), GIF
    (first frame), BMP.

    Args:
        model: a `training.PretextModel`, whose encoder is exported without heads or queues, or any
            `keras.Model` from images to vectors.
        path: folder of the versions; made if missing.
        image_size: side in pixels; default: that of the model's views, else what the encoder says;
            if neither, images pass at their own size.
        head: a classifier on the embedding: (kernel `[D, classes]`, bias `[classes]`), or a built
            Keras layer or model that gives logits.
        class_names: a name for each class; default: its index.
        warmup: write the requests by which TensorFlow Serving warms up.

    Returns:
        `pathlib.Path` of the new version.

    Raises:
        TypeError: if `model` is no `keras.Model`.
        ValueError: if it gives no vector, is fixed to another size, or the head does not fit.
        OSError: if `path` is a file, or cannot be written.
    """
    encoder = model.encoder if isinstance(model, PretextModel) else encoders.as_encoder(model)
    channels, width = encoder.input_shape[-1], encoder.output_shape[-1]
    if channels not in (1, 3):
        raise ValueError(
            f"An encoder is exported for 1 channel or 3; {encoder.name!r} takes {channels}."
        )
    if head is None and class_names is not None:
        raise ValueError("class_names name the classes of a head; give head too.")
    classifier = None if head is None else Classifier(head, width, class_names)
    side = _side(encoder, image_size, getattr(model, "views", None))
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


def _side(encoder, image_size, views):
    """Side of the images that the encoder gets, or None for any."""
    if image_size is not None and (not isinstance(image_size, int) or image_size < 1):
        raise ValueError(f"image_size must be a number of pixels; received {image_size!r}.")
    side = image_size or getattr(views, "image_size", None) or encoders.image_size(encoder)
    fixed = encoder.input_shape[1:3]
    if any(length not in (None, side) for length in fixed):
        raise ValueError(
            f"image_size must be what the encoder {encoder.name!r} takes, and that is images of "
            f"{fixed[0]}x{fixed[1]} pixels; received {side}. (Only squares can be exported.)"
        )
    return side


def _archive(encoder, side, classifier):
    """The signatures, traced in inference mode."""
    channels, width = encoder.input_shape[-1], encoder.output_shape[-1]

    def embed(images):
        count = tf.shape(images)[0]
        # Convolutions crash on an empty batch: it gets a row, which is taken away again.
        images = tf.pad(images, [[0, tf.cast(count == 0, tf.int32)], [0, 0], [0, 0], [0, 0]])
        images = image_ops.fit(images, side) if side else images
        return tf.cast(encoder(images, training=False), tf.float32)[:count]

    def embed_bytes(contents):
        def one(encoded):
            image = image_ops.decode(encoded, channels)
            return image_ops.fit(image, side) if side else embed(image[None])[0]

        if side:  # decoded one by one, embedded together
            pixels = tf.TensorSpec([side, side, channels], tf.uint8)
            return embed(tf.map_fn(one, contents, fn_output_signature=pixels))
        embedding = tf.TensorSpec([width], tf.float32)
        return tf.map_fn(one, contents, fn_output_signature=embedding)

    images = tf.TensorSpec([None, None, None, channels], tf.uint8, name="images")
    contents = tf.TensorSpec([None], tf.string, name="bytes")
    archive = keras.export.ExportArchive()
    archive.track(encoder)
    archive.add_endpoint("serving_default", lambda images: {"embedding": embed(images)}, [images])
    archive.add_endpoint("serve_bytes", lambda bytes: {"embedding": embed_bytes(bytes)}, [contents])
    if classifier:
        archive.track(classifier.layer)
        archive.add_endpoint("classify", lambda images: classifier(embed(images)), [images])
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
