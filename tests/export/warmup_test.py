"""Warm-up requests, read with TensorFlow Serving's own protocol buffers."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from cl_keras import export
from cl_keras.export import warmup
from tests.quick import slow_but

prediction_log_pb2 = pytest.importorskip(
    "tensorflow_serving.apis.prediction_log_pb2",
    reason="pip install --no-deps tensorflow-serving-api",
)


def parse(serialized):
    log = prediction_log_pb2.PredictionLog.FromString(serialized)
    assert log.WhichOneof("log_type") == "predict_log"
    request = log.predict_log.request
    arrays = {name: tf.make_ndarray(tensor) for name, tensor in request.inputs.items()}
    return request.model_spec.signature_name, arrays


@pytest.mark.parametrize("size", [0, 1, 127, 128, 300, 70_000])  # lengths of one to three bytes
def test_a_request_is_read_back(size):
    array = np.random.default_rng(0).integers(0, 256, [1, size, 1, 1], dtype=np.uint8)
    words = np.array([b"one", b"", b"\xff\x00"], object)
    serialized = warmup.prediction_log("serve_büytes", {"images": array, "other": words})
    signature, inputs = parse(serialized)
    assert signature == "serve_büytes"
    assert set(inputs) == {"images", "other"}
    np.testing.assert_array_equal(inputs["images"], array)
    assert inputs["other"].tolist() == words.tolist()


def test_it_is_byte_for_byte_what_the_real_messages_encode_to():
    log = prediction_log_pb2.PredictionLog()
    request = log.predict_log.request
    request.model_spec.signature_name = "serving_default"
    images = np.ones([1, 30, 30, 3], np.uint8)
    request.inputs["images"].CopyFrom(tf.make_tensor_proto(images))
    assert warmup.prediction_log("serving_default", {"images": images}) == log.SerializeToString()


@pytest.mark.parametrize("image_size", slow_but([12], [None, 12]))
def test_an_export_answers_its_own_warm_up(tmp_path, image_size):
    inputs = keras.Input([None, None, 1])
    encoder = keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(inputs))
    head = (np.ones([1, 2]), np.zeros(2))
    version = export.saved_model(encoder, tmp_path, image_size=image_size, head=head)
    records = tf.data.TFRecordDataset(str(version / warmup.FILE)).as_numpy_iterator()
    requests = dict(parse(record) for record in records)
    signatures = tf.saved_model.load(str(version)).signatures
    assert set(requests) == set(signatures) == {"serving_default", "serve_bytes", "classify"}
    for name, inputs in requests.items():
        outputs = signatures[name](**{key: tf.constant(value) for key, value in inputs.items()})
        assert all(np.isfinite(v).all() for v in outputs.values() if v.dtype.is_floating)
        rows = len(next(iter(inputs.values())))
        assert {len(value) for value in outputs.values()} == {rows}


def test_the_warm_up_can_be_omitted(tmp_path):
    inputs = keras.Input([None, None, 1])
    encoder = keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(inputs))
    version = export.saved_model(encoder, tmp_path, warmup=False)
    assert not (version / warmup.FILE).exists()
