"""k-NN accuracy while a model trains."""

import keras
import numpy as np

from cl_keras.evaluation.checks import positive
from cl_keras.evaluation.features import encode_function, features
from cl_keras.evaluation.knn import knn


class KNNMonitor(keras.callbacks.Callback):
    """Adds the k-NN accuracy of the representation to the logs of an epoch, as `knn`.

    Put it before callbacks that read the logs (`CSVLogger`, `TensorBoard`, `ModelCheckpoint`);
    `History` comes after all of them. Nothing of the training changes: the encoder runs in
    inference mode, and no random state is drawn from. An epoch that is not measured, or whose
    representation is no longer finite, holds NaN.

    Args:
        train_batches: the labelled bank, as `features` takes it; not shuffling is faster.
        test_batches: the labelled images that are classified.
        every: measure at the end of every so many epochs.
        k: neighbours that vote.
        temperature: τ of the votes.

    Raises:
        ValueError: every or k below 1; at the first measurement, images without labels.
    """

    def __init__(self, train_batches, test_batches, every=1, k=20, temperature=0.07):
        super().__init__()
        self.train_batches, self.test_batches = train_batches, test_batches
        self.every, self.k = positive("every", every), positive("k", k)
        self.temperature = temperature
        self._encode = None

    def set_model(self, model):
        super().set_model(model)
        self._encode = encode_function(model)

    def on_epoch_end(self, epoch, logs=None):
        if logs is not None:
            logs["knn"] = self.measure() if (epoch + 1) % self.every == 0 else float("nan")

    def measure(self):
        """The k-NN accuracy of the model as it is, a share from 0 to 1, or NaN."""
        train = features(self._encode, self.train_batches, progress=False)
        test = features(self._encode, self.test_batches, progress=False)
        if not (np.isfinite(train.vectors).all() and np.isfinite(test.vectors).all()):
            return float("nan")
        score = knn(
            train.vectors,
            train.labels,
            test.vectors,
            test.labels,
            k=self.k,
            temperature=self.temperature,
        )
        return score["top1"]
