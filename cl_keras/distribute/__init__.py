"""Distribution over devices and machines: strategies by name, and the global batch."""

from cl_keras.distribute.global_batch import (
    batch_row,
    first_row,
    gather,
    max_over_replicas,
    micro_batch,
    num_replicas,
    own_rows,
    read_rows,
    sum_over_replicas,
    write_rows,
)
from cl_keras.distribute.strategies import strategy
from cl_keras.distribute.workers import (
    from_chief,
    from_every_worker,
    is_chief,
    num_workers,
    worker,
)

__all__ = [
    "batch_row",
    "first_row",
    "from_chief",
    "from_every_worker",
    "gather",
    "is_chief",
    "max_over_replicas",
    "micro_batch",
    "num_replicas",
    "num_workers",
    "own_rows",
    "read_rows",
    "strategy",
    "sum_over_replicas",
    "worker",
    "write_rows",
]
