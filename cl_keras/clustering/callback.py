"""The callback that clusters the images again while a model trains."""

from typing import Any

import keras
import tensorflow as tf


class Recluster(keras.callbacks.Callback):
    """Calls `model.recluster(batches, epoch)` before an epoch begins.

    The result is kept in the variables of the model, so a run that resumes has it, and one that
    resumes within an epoch does not cluster again. A method that clusters brings this callback to
    `fit` itself.

    Args:
        batches: `tf.data.Dataset` of the images, for a model that must look at them.
        every: cluster before every so many epochs; before the first in any case.

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
        """Instead of `on_epoch_begin` where the epoch began in another process, and clustered."""
