"""The strategy by its name."""

import os
import re

import tensorflow as tf

from cl_keras.distribute.cluster import cluster_from
from cl_keras.distribute.workers import remember, several_workers
from cl_keras.spelling import did_you_mean

NAMES = ("auto", "cpu", "gpu", "mirrored", "multiworker")

_mirrored: dict[tuple[str, ...], tf.distribute.MirroredStrategy] = {}
"""MirroredStrategies by their devices: a second one over the same would clash with the first."""


def strategy(name: str = "auto", devices: str | None = None) -> tf.distribute.Strategy:
    """A `tf.distribute.Strategy`, for `with strategy.scope():` around the making of a model.

        auto         several workers, where `TF_CONFIG` or Slurm describe them; else all GPUs, if
                     there are several; else the one device
        cpu, gpu     one device, the first of its kind
        mirrored     all GPUs of this machine, or without any all (logical) CPUs
        multiworker  the workers of `TF_CONFIG` or Slurm, with all GPUs of each
        gpu:0,gpu:1  these devices of this machine

    For the one device that TensorFlow takes by itself this is its default strategy, which adds
    nothing to a step.

    Args:
        name: one of the above.
        devices: such as "gpu:0,gpu:1": take these alone; on each worker, for several.

    Returns:
        The strategy; the same one again for the same devices.

    Raises:
        ValueError: for an unknown name, a device that is not there, or a wrong `TF_CONFIG`.
        RuntimeError: for several workers, if TensorFlow has begun to work already.
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
            f"strategy={name!r} is the first device of its kind; leave it out to take {devices!r}."
        )
    asked = None if devices is None else _parse(devices)
    cluster = cluster_from(os.environ) if name in ("auto", "multiworker") else None
    if cluster and len(cluster.addresses) > 1:
        return several_workers() or _multi_worker(cluster, asked)
    if name == "multiworker" and cluster is None:
        raise ValueError(
            "strategy='multiworker' needs to know the workers: set TF_CONFIG in each of them, or "
            "start them with Slurm's srun; docs/launch.md has examples."
        )
    return _of_one_machine(name, asked)


def _of_one_machine(name, asked):
    there = {
        kind: [f"{kind}:{i}" for i in range(len(tf.config.list_logical_devices(kind.upper())))]
        for kind in ("cpu", "gpu")
    }
    if name == "gpu" and not there["gpu"]:
        raise ValueError(
            "strategy='gpu': TensorFlow finds no GPU. Look at `nvidia-smi`, and whether "
            'TensorFlow came with CUDA: pip install "cl-keras[gpu]".'
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
            "The strategy over several workers must be made before TensorFlow does anything else: "
            "call cl.distribute.strategy(...) first in the program, before images are loaded or a "
            f"model is made ({error})."
        ) from error


def _parse(devices):
    """ "GPU:0, gpu:1" as ["gpu:0", "gpu:1"]."""
    names = [name.strip().lower() for name in devices.split(",")]
    wrong = [name for name in names if not re.fullmatch(r"[cg]pu:\d+", name)]
    if wrong or len(set(names)) < len(names) or len({name[:3] for name in names}) > 1:
        raise ValueError(
            "devices must be different ones of one kind, such as 'gpu:0,gpu:1' or 'cpu:0'; "
            f"received {devices!r}."
        )
    return [f"{name[:3]}:{int(name[4:])}" for name in names]


def _check_there(asked, there):
    missing = [name for name in asked if name not in there]
    if missing:
        raise ValueError(f"There is no {', '.join(missing)} here; there are {', '.join(there)}.")
