"""The callback that clusters the images again during training."""

from typing import Any

import keras
import tensorflow as tf


class Recluster(keras.callbacks.Callback):
    """Calls `model.recluster(batches, epoch)` before an epoch begins.

    The result is kept in variables of the model, so resumed runs have it, and do not cluster again
    within an epoch. Methods that cluster add this callback in `fit`.

    Args:
        batches: `tf.data.Dataset` of the images, for models that need to see them.
        every: number of epochs between clusterings, the first before the first epoch; default: 1.

    Raises:
        ValueError: for `every` below 1.
    """

    def __init__(self, batches: tf.data.Dataset, every: int = 1):
        super().__init__()
        if every < 1:
            raise ValueError(f"every must be at least 1 epoch; received {every!r}.")
        self.batches, self.every = batches, every

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        if epoch % self.every == 0:
            self.model.recluster(self.batches, epoch)

    def on_epoch_resumed(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Replaces `on_epoch_begin` if another process began the epoch, and clustered."""
