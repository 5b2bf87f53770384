"""Contrastive learning for Keras: train an encoder on images without labels, then serve it."""

import importlib.util
import pathlib
import sys
import typing

if importlib.util.find_spec("tensorflow") is None:
    raise ImportError(
        "cl_keras needs TensorFlow, which three packages provide; install one of them:\n"
        '  pip install "cl-keras[cpu]"         a CPU and nothing else, the smallest\n'
        '  pip install "cl-keras[gpu]"         NVIDIA GPUs, with the CUDA libraries\n'
        '  pip install "cl-keras[tensorflow]"  the plain package of your platform'
    )

from cl_keras import collector, keras_settings
from cl_keras.version import __version__

keras_settings.check()

if pathlib.PurePath(sys.argv[0] if sys.argv else "").stem != "cl-keras":
    # The command line imports only what a command needs, so that help does not load TensorFlow.
    with collector.paused():
        from cl_keras import (
            clustering,
            data,
            distribute,
            encoders,
            heads,
            losses,
            methods,
            negatives,
            optimizers,
            training,
            views,
        )
        from cl_keras.methods import (
            CPC,
            PCL,
            PIRL,
            SEED,
            DeepCluster,
            DeepInfoMax,
            InstDisc,
            Jigsaw,
            MoCo,
            MoCoV3,
            RelativePosition,
            RotNet,
            SimCLR,
            SupCon,
            SwAV,
            TwoTower,
        )

if typing.TYPE_CHECKING:
    from cl_keras import callbacks, downstream, evaluation, export, report, runs, zoo
    from cl_keras.pretraining import pretrain

_LATER = {"callbacks", "downstream", "evaluation", "export", "report", "runs", "zoo"}
"""Folders that are imported on first use; none of them registers a layer or a model."""

__all__ = [
    "CPC",
    "PCL",
    "PIRL",
    "SEED",
    "DeepCluster",
    "DeepInfoMax",
    "InstDisc",
    "Jigsaw",
    "MoCo",
    "MoCoV3",
    "RelativePosition",
    "RotNet",
    "SimCLR",
    "SupCon",
    "SwAV",
    "TwoTower",
    "__version__",
    "callbacks",
    "clustering",
    "data",
    "distribute",
    "downstream",
    "encoders",
    "evaluation",
    "export",
    "heads",
    "losses",
    "methods",
    "negatives",
    "optimizers",
    "pretrain",
    "report",
    "runs",
    "training",
    "views",
    "zoo",
]


def __getattr__(name: str) -> typing.Any:
    if name in _LATER:
        return importlib.import_module(f"cl_keras.{name}")
    if name == "pretrain":
        return importlib.import_module("cl_keras.pretraining").pretrain
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
