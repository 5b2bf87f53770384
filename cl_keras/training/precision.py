"""Chooses the fastest precision for this machine that does not hurt accuracy."""

import os

import tensorflow as tf

from cl_keras import bounds

BFLOAT16_GPU = (8, 0)
"""Compute capability from which a GPU multiplies bfloat16 in hardware; float16 from 7.0 on."""
FLOAT16_GPU = (7, 0)

BFLOAT16_CPU = ("amx_bf16", "avx512_bf16")
"""Flags of a CPU on which oneDNN multiplies bfloat16 in hardware."""


def resolve(precision: str) -> str:
    """A Keras dtype policy for the layers.

    Args:
        precision: the name of a policy, which is returned as it is; or `"auto"`, the fastest that
            the slowest GPU, or the CPU if there is none, has instructions for.
    """
    if precision != "auto":
        return precision
    gpus = tf.config.list_physical_devices("GPU")
    if gpus:
        details = [tf.config.experimental.get_device_details(gpu) for gpu in gpus]
        return of_gpu(min(detail.get("compute_capability", (0, 0)) for detail in details))
    fast = set(BFLOAT16_CPU) & bounds.cpu_flags() and os.environ.get("TF_ENABLE_ONEDNN_OPTS") != "0"
    return "mixed_bfloat16" if fast else "float32"


def of_gpu(capability: tuple[int, int]) -> str:
    """The fastest dtype policy for a GPU with the given compute capability."""
    if capability >= BFLOAT16_GPU:
        return "mixed_bfloat16"
    return "mixed_float16" if capability >= FLOAT16_GPU else "float32"
