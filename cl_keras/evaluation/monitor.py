"""k-NN accuracy while a model trains."""

import keras
import numpy as np

from cl_keras.evaluation.checks import positive
from cl_keras.evaluation.features import encode_function, features
from cl_keras.evaluation.knn import knn


class KNNMonitor(keras.callbacks.Callback):
    """Adds the k-NN accuracy of the representation to the logs of an epoch, as `knn`.

    Measured are the first epoch, every so many, and the last. In between, and where the
    representation is no longer finite, the logs repeat the last measured value: `ModelCheckpoint`
    takes it for no improvement, where it would save a model without a value; give `EarlyStopping`
    a patience of more than `every`.

    Put it before callbacks that read the logs (`CSVLogger`, `TensorBoard`, `ModelCheckpoint`);
    `History` comes after all of them. Training is unaffected: the encoder runs in inference mode,
    and no random state is drawn from.

    Args:
        train_batches: the labeled bank, as `features` takes it; not shuffling is faster.
        test_batches: the labeled images that are classified.
        every: epochs between measurements.
        k: neighbors that vote.
        temperature: τ of the votes.
        last: the last measured value of a run that is resumed.

    Raises:
        ValueError: every or k below 1; images without labels, where they are not a plain
            iterable: that shows at the first measurement.
    """

    def __init__(
        self,
        train_batches,
        test_batches,
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
            measured = self.measure()
            self._last = self._last if measured is None else measured
        if logs is not None and self._last is not None:
            logs["knn"] = self._last

    def measure(self) -> float | None:
        """The k-NN accuracy of the model as it is, from 0 to 1; None if it is not finite."""
        train = features(self._encode, self.train_batches, progress=False)
        test = features(self._encode, self.test_batches, progress=False)
        if not (np.isfinite(train.vectors).all() and np.isfinite(test.vectors).all()):
            return None
        return knn(train, test, k=self.k, temperature=self.temperature)["top1"]
