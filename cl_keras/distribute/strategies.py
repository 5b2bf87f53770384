"""Strategies by name."""

import os
import re

import tensorflow as tf

from cl_keras.distribute.cluster import cluster_from
from cl_keras.distribute.workers import remember, several_workers
from cl_keras.spelling import did_you_mean

NAMES = ("auto", "cpu", "gpu", "mirrored", "multiworker")

_mirrored: dict[tuple[str, ...], tf.distribute.MirroredStrategy] = {}
"""MirroredStrategies by devices; two for the same devices would conflict."""


def strategy(name: str = "auto", devices: str | None = None) -> tf.distribute.Strategy:
    """A `tf.distribute.Strategy`, for `with strategy.scope():` around the creation of a model.

        auto         several workers, if `TF_CONFIG` or Slurm describe them; else all GPUs, if
                     there are several; else a single device
        cpu, gpu     the first device of this kind
        mirrored     all GPUs of this machine, or all (logical) CPUs if it has none
        multiworker  the workers of `TF_CONFIG` or Slurm, with all GPUs of each
        gpu:0,gpu:1  these devices of this machine

    For the device that TensorFlow uses by default, it is the default strategy, which has no
    overhead.

    Args:
        name: one of the above; default: `"auto"`.
        devices: such as `"gpu:0,gpu:1"`, use only these, on each worker; default: None, all.

    Returns:
        The strategy, the same object for the same devices.

    Raises:
        ValueError: for an unknown name, a missing device, or an invalid `TF_CONFIG`.
        RuntimeError: for several workers, if TensorFlow is already initialized.
    """
    if ":" in name and devices is None:
        name, devices = "auto", name
    if name not in NAMES:
        raise ValueError(
            f"strategy must be one of {', '.join(NAMES)}, or devices such as 'gpu:0,gpu:1'; "
            f"received {name!r}.{did_you_mean(name, NAMES)}"
        )
    if devices is not None and name in ("cpu", "gpu"):
        raise ValueError(
            f"strategy={name!r} is the first device of its kind; omit it to use {devices!r}."
        )
    asked = None if devices is None else _parse(devices)
    cluster = cluster_from(os.environ) if name in ("auto", "multiworker") else None
    if cluster and len(cluster.addresses) > 1:
        return several_workers() or _multi_worker(cluster, asked)
    if name == "multiworker" and cluster is None:
        raise ValueError(
            "strategy='multiworker' needs a description of the workers. Set TF_CONFIG on each, or "
            "start them with srun of Slurm; docs/launch.md has examples."
        )
    return _of_one_machine(name, asked)


def _of_one_machine(name, asked):
    there = {
        kind: [f"{kind}:{i}" for i in range(len(tf.config.list_logical_devices(kind.upper())))]
        for kind in ("cpu", "gpu")
    }
    if name == "gpu" and not there["gpu"]:
        raise ValueError(
            "strategy='gpu' needs a GPU, and TensorFlow finds none. Check `nvidia-smi`, and that "
            'TensorFlow has CUDA: pip install "cl-keras[gpu]".'
        )
    preferred = there["gpu"] or there["cpu"]
    if asked is None:
        several = name == "mirrored" or (name == "auto" and len(there["gpu"]) > 1)
        asked = preferred if several else [name + ":0" if name in there else preferred[0]]
    _check_there(asked, [*there["cpu"], *there["gpu"]])
    if len(asked) > 1 or name == "mirrored":
        return _mirrored.get(tuple(asked)) or _make_mirrored(asked)
    if asked == preferred[:1]:
        return tf.distribute.get_strategy()
    return tf.distribute.OneDeviceStrategy(asked[0])


def _make_mirrored(devices):
    made = tf.distribute.MirroredStrategy([device.upper() for device in devices])
    _mirrored[tuple(devices)] = made
    return made


def _multi_worker(cluster, asked):
    physical = {kind: tf.config.list_physical_devices(kind.upper()) for kind in ("cpu", "gpu")}
    try:
        if asked is not None:
            names = [f"{kind}:{i}" for kind, found in physical.items() for i in range(len(found))]
            _check_there(asked, names)
            gpus = [physical["gpu"][int(device[4:])] for device in asked if device[:3] == "gpu"]
            tf.config.set_visible_devices(gpus, "GPU")
        resolver = tf.distribute.cluster_resolver.SimpleClusterResolver(
            tf.train.ClusterSpec({"worker": list(cluster.addresses)}),
            task_type="worker",
            task_id=cluster.worker,
            num_accelerators={"GPU": len(tf.config.get_visible_devices("GPU"))},
            rpc_layer="grpc",
        )
        return remember(tf.distribute.MultiWorkerMirroredStrategy(cluster_resolver=resolver))
    except RuntimeError as error:
        raise RuntimeError(
            "The strategy of several workers must be created before TensorFlow is initialized. "
            "Call cl.distribute.strategy(...) before the program loads images or creates models "
            f"({error})."
        ) from error


def _parse(devices):
    """Turns "GPU:0, gpu:1" into ["gpu:0", "gpu:1"]."""
    names = [name.strip().lower() for name in devices.split(",")]
    wrong = [name for name in names if not re.fullmatch(r"[cg]pu:\d+", name)]
    if wrong or len(set(names)) < len(names) or len({name[:3] for name in names}) > 1:
        raise ValueError(
            "devices must be distinct and of the same kind, such as 'gpu:0,gpu:1' or 'cpu:0'; "
            f"received {devices!r}."
        )
    return [f"{name[:3]}:{int(name[4:])}" for name in names]


def _check_there(asked, there):
    missing = [name for name in asked if name not in there]
    if missing:
        raise ValueError(
            f"devices must be among {', '.join(there)}; received {', '.join(missing)}."
        )
