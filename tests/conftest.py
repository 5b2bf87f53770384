"""Shared by all tests: two logical devices, one strategy, float64, tiny models and images."""

import os
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import pytest
import tensorflow as tf

from cl_keras import distribute

tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
)

LONGEST = [
    "recipes/published_test.py",
    "conformance/replicas_test.py",
    "conformance/methods_test.py",
    "cli/commands_test.py",
    "runs/resume_test.py",
    "export/saved_model_test.py",
    "export/images_test.py",
]
"""They run first, so that at the end no process of `-n 2 --dist=loadfile` is busy with one."""


def pytest_collection_modifyitems(items):
    tests = Path(__file__).parent
    places = {tests / name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path, len(places)))


@pytest.fixture(scope="session")
def mirrored():
    """MirroredStrategy on two logical devices. A process cannot have a second one."""
    return distribute.strategy("cpu:0,cpu:1")


@pytest.fixture
def float64():
    """Keras in double precision, so that results can be compared closely."""
    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")
    yield
    keras.config.set_floatx("float32")
    keras.config.set_dtype_policy("float32")


@pytest.fixture
def policy(request):
    """A mixed-precision policy, named by the test's parameter."""
    keras.config.set_dtype_policy(request.param)
    yield request.param
    keras.config.set_dtype_policy("float32")


@pytest.fixture
def random():
    return np.random.default_rng(0)


@pytest.fixture
def images(random):
    """uint8 [32, 12, 12, 1]: smooth blobs, all different."""
    coarse = random.integers(0, 256, [32, 4, 4, 1]).astype("float32")
    return tf.image.resize(coarse, [12, 12]).numpy().astype("uint8")
