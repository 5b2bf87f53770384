"""The hardware of the machine."""

import dataclasses

import tensorflow as tf

from cl_keras import bounds
from cl_keras.training.precision import of_gpu


@dataclasses.dataclass(frozen=True)
class Machine:
    """The hardware that determines how large a model can be trained in a given time.

    Attributes:
        cores: CPU cores that this process may use.
        memory: main memory in GiB; None if unknown.
        gpus: name of each GPU.
        capability: compute capability of the first GPU, (major, minor); None without a GPU.
    """

    cores: int
    memory: float | None
    gpus: tuple[str, ...]
    capability: tuple[int, int] | None

    def __str__(self):
        memory = f", {self.memory:.0f} GiB of memory" if self.memory else ""
        if self.gpus:
            count = f"{len(self.gpus)} × " if len(self.gpus) > 1 else ""
            return f"{count}{self.gpus[0]}, {self.cores} cores{memory}"
        return f"{self.cores} CPU {'cores' if self.cores > 1 else 'core'}{memory}"

    @property
    def precision(self) -> str:
        """The fastest safe precision of layers: half, if the GPU has units for it."""
        return of_gpu(self.capability) if self.capability else "float32"


def this_machine() -> Machine:
    """The machine that this process runs on."""
    details = [
        tf.config.experimental.get_device_details(gpu)
        for gpu in tf.config.list_physical_devices("GPU")
    ]
    memory = bounds.memory_of_machine()
    return Machine(
        cores=bounds.cores(),
        memory=None if memory is None else memory / 2**30,
        gpus=tuple(one.get("device_name", "GPU") for one in details),
        capability=details[0].get("compute_capability") if details else None,
    )
