"""Sources of negatives: the batch, a queue of keys, and a memory bank."""

from cl_keras.negatives.in_batch import in_batch
from cl_keras.negatives.key_queue import KeyQueue
from cl_keras.negatives.memory_bank import MemoryBank
from cl_keras.negatives.momentum_encoder import MomentumEncoder

__all__ = ["KeyQueue", "MemoryBank", "MomentumEncoder", "in_batch"]
