import json
import types

import pytest
import tensorflow as tf

from cl_keras import distribute


@pytest.fixture(autouse=True)
def no_cluster(monkeypatch):
    for name in ("TF_CONFIG", "SLURM_STEP_NUM_TASKS"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def gpus(monkeypatch):
    """A machine that reports a number of GPUs, and strategies that only record their devices."""

    def pretend(count):
        there = {"CPU": 1, "GPU": count}
        monkeypatch.setattr(tf.config, "list_logical_devices", lambda kind: range(there[kind]))
        for kind in ("MirroredStrategy", "OneDeviceStrategy"):
            monkeypatch.setattr(
                tf.distribute, kind, lambda on, kind=kind: types.SimpleNamespace(kind=kind, on=on)
            )
        monkeypatch.setattr("cl_keras.distribute.strategies._mirrored", {})

    return pretend


def described(strategy):
    if strategy is tf.distribute.get_strategy():
        return "default"
    return strategy.kind, strategy.on


@pytest.mark.parametrize(
    "count, name, expected",
    [
        (0, "auto", "default"),
        (1, "auto", "default"),
        (2, "auto", ("MirroredStrategy", ["GPU:0", "GPU:1"])),
        (2, "gpu", "default"),
        (2, "gpu:0", "default"),
        (2, "GPU:1", ("OneDeviceStrategy", "gpu:1")),
        (3, "gpu:0,gpu:2", ("MirroredStrategy", ["GPU:0", "GPU:2"])),
        (1, "mirrored", ("MirroredStrategy", ["GPU:0"])),
        (0, "mirrored", ("MirroredStrategy", ["CPU:0"])),
        (0, "cpu", "default"),
        (1, "cpu", ("OneDeviceStrategy", "cpu:0")),
        (1, "cpu:0", ("OneDeviceStrategy", "cpu:0")),
    ],
)
def test_the_devices_of_one_machine(gpus, count, name, expected):
    gpus(count)
    assert described(distribute.strategy(name)) == expected


def test_devices_limit_a_name(gpus):
    gpus(4)
    expected = ("MirroredStrategy", ["GPU:2", "GPU:3"])
    assert described(distribute.strategy("mirrored", "gpu:2, gpu:3")) == expected
    assert described(distribute.strategy("auto", "gpu:2,gpu:3")) == expected


@pytest.mark.parametrize(
    "arguments, complaint",
    [
        (["mirored"], "received 'mirored'. Did you mean 'mirrored'"),
        (["tpu"], "auto, cpu, gpu, mirrored, multiworker"),
        (["gpu"], "needs a GPU"),
        (["gpu:0"], "among cpu:0, cpu:1; received gpu:0"),
        (["cpu:0,cpu:7"], "received cpu:7"),
        (["cpu:0,cpu:0"], "distinct and of the same kind"),
        (["cpu:0,gpu:0"], "distinct and of the same kind"),
        (["cpu:a"], "received 'cpu:a'"),
        (["cpu", "cpu:1"], "omit it"),
        (["multiworker"], "Set TF_CONFIG"),
    ],
)
def test_impossible_combinations_are_refused(arguments, complaint):
    with pytest.raises(ValueError, match=complaint):
        distribute.strategy(*arguments)


def test_variables_created_under_it_are_on_its_devices(mirrored):
    assert distribute.strategy("cpu:0,cpu:1") is mirrored
    with mirrored.scope():
        copies = tf.Variable(0.0).values
    assert [copy.device[-5:] for copy in copies] == ["CPU:0", "CPU:1"]
    with distribute.strategy("cpu:1").scope():
        assert tf.Variable(0.0).device.endswith("CPU:1")
    with distribute.strategy().scope():
        assert tf.Variable(0.0).device.endswith("CPU:0")


def test_several_workers_must_be_known_before_tensorflow_starts(monkeypatch):
    cluster = {"worker": ["localhost:1", "localhost:2"]}
    monkeypatch.setenv(
        "TF_CONFIG", json.dumps({"cluster": cluster, "task": {"type": "worker", "index": 0}})
    )
    tf.constant(0.0)
    for name in ("auto", "multiworker"):
        with pytest.raises(RuntimeError, match=r"Call cl.distribute.strategy\(...\) before"):
            distribute.strategy(name)


def test_a_cluster_of_one_worker_is_not_a_cluster(monkeypatch):
    cluster = {"worker": ["localhost:1"]}
    monkeypatch.setenv(
        "TF_CONFIG", json.dumps({"cluster": cluster, "task": {"type": "worker", "index": 0}})
    )
    for name in ("auto", "multiworker"):
        assert distribute.strategy(name) is tf.distribute.get_strategy()


def test_a_single_process_is_the_chief(mirrored):
    def who():
        return distribute.is_chief(), distribute.num_workers(), distribute.worker()

    assert who() == (True, 1, 0)
    with mirrored.scope():
        assert who() == (True, 1, 0)
    assert distribute.from_every_worker(7) == [7]
