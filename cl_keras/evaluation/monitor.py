"""k-NN accuracy during training."""

from typing import Any

import keras
import numpy as np

from cl_keras.evaluation.checks import positive
from cl_keras.evaluation.features import encode_function, features
from cl_keras.evaluation.knn import knn


class KNNMonitor(keras.callbacks.Callback):
    """Adds the k-NN accuracy of the representation to the logs of an epoch, as `knn`.

    It is computed after the first epoch, every `every` epochs, and after the last. In between, and
    if the representation is not finite, the logs repeat the last value: `ModelCheckpoint`, which
    would save a model without a value, then sees no improvement. Give `EarlyStopping` a patience of
    more than `every`.

    Put it before callbacks that read the logs (`CSVLogger`, `TensorBoard`, `ModelCheckpoint`);
    `History` comes after all of them. Training is not affected: the encoder runs in inference mode,
    and uses no random state.

    Args:
        train_batches: the labeled bank, as `features` takes it; faster if not shuffled.
        test_batches: the labeled images to classify.
        every: number of epochs between evaluations; default: 1.
        k: number of neighbors that vote; default: 20.
        temperature: τ of the votes; default: 0.07.
        last: the last value of a run that is resumed; default: None.

    Raises:
        ValueError: every or k below 1; images without labels, which for plain iterables shows only
            in the first evaluation.
    """

    def __init__(
        self,
        train_batches: Any,
        test_batches: Any,
        every: int = 1,
        k: int = 20,
        temperature: float = 0.07,
        last: float | None = None,
    ):
        super().__init__()
        for name, images in (("train_batches", train_batches), ("test_batches", test_batches)):
            source = getattr(images, "source", images)
            if not getattr(source, "has_labels", True):
                raise ValueError(
                    f"{name} must have labels, for k-NN accuracy; {source.name} has none. Load it "
                    "with labels=…, or from class folders."
                )
        self.train_batches, self.test_batches = train_batches, test_batches
        self.every, self.k = positive("every", every), positive("k", k)
        self.temperature, self._last = temperature, last
        self._encode = None

    def set_model(self, model):
        super().set_model(model)
        self._encode = encode_function(model)

    def on_epoch_end(self, epoch, logs=None):
        done = epoch + 1
        is_last = done == self.params.get("epochs")
        if self._last is None or done % self.every == 0 or is_last:
            accuracy = self.compute()
            self._last = self._last if accuracy is None else accuracy
        if logs is not None and self._last is not None:
            logs["knn"] = self._last

    def compute(self) -> float | None:
        """The current k-NN accuracy of the model, from 0 to 1; None if vectors are not finite."""
        train = features(self._encode, self.train_batches, progress=False)
        test = features(self._encode, self.test_batches, progress=False)
        if not (np.isfinite(train.vectors).all() and np.isfinite(test.vectors).all()):
            return None
        return knn(train, test, k=self.k, temperature=self.temperature)["top1"]
