"""Warm-up requests, which TensorFlow Serving replays before a version serves its first request.

The server reads `assets.extra/tf_serving_warmup_requests`, a TFRecord of `PredictionLog`s. Their
Python classes are in `tensorflow-serving-api`, which requires a specific TensorFlow; since only
three small messages wrap the tensors, they are encoded here.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import tensorflow as tf

FILE = "assets.extra/tf_serving_warmup_requests"

# Field numbers of tensorflow_serving/apis: prediction_log.proto, predict.proto, model.proto.
_LOG_PREDICT_LOG = 6
_PREDICT_LOG_REQUEST = 1
_REQUEST_MODEL_SPEC, _REQUEST_INPUTS = 1, 2
_MODEL_SPEC_SIGNATURE = 3
_MAP_KEY, _MAP_VALUE = 1, 2  # protobuf's wire form of an entry of any map


def write(version_dir: Path, requests: list[tuple[str, dict[str, Any]]]) -> None:
    """Writes warm-up requests into a SavedModel.

    Args:
        version_dir: folder of the SavedModel.
        requests: a list of (signature name, dict of input name to array).
    """
    path = version_dir / FILE
    path.parent.mkdir(exist_ok=True)
    with tf.io.TFRecordWriter(str(path)) as writer:
        for signature, inputs in requests:
            writer.write(prediction_log(signature, inputs))


def prediction_log(signature: str, inputs: dict[str, Any]) -> bytes:
    """A serialized `tensorflow.serving.PredictionLog` of one predict request.

    The name of the model is left out, since the server that reads the file fills it in.

    Args:
        signature: name of the signature to call.
        inputs: dict of input name to array.

    Returns:
        bytes.
    """
    request = _field(_REQUEST_MODEL_SPEC, _field(_MODEL_SPEC_SIGNATURE, signature.encode()))
    for name, array in inputs.items():
        tensor = tf.make_tensor_proto(array).SerializeToString()
        entry = _field(_MAP_KEY, name.encode()) + _field(_MAP_VALUE, tensor)
        request += _field(_REQUEST_INPUTS, entry)
    return _field(_LOG_PREDICT_LOG, _field(_PREDICT_LOG_REQUEST, request))


def _field(number, payload):
    """A length-delimited field (wire type 2) of the protobuf encoding."""
    return _varint(number << 3 | 2) + _varint(len(payload)) + payload


def _varint(value):
    """Seven bits per byte, lowest first; the top bit says whether more follow."""
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes(encoded) + bytes([value])
