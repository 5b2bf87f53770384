"""The loop around the step of every method: what `compile`, `fit` and `evaluate` accept."""

import warnings
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from cl_keras.data import Batches, Source, image_batches, pixel_range
from cl_keras.data.image_batches import count_steps
from cl_keras.data.order import as_int
from cl_keras.data.repeated_index import watch_index
from cl_keras.training import checks, gradients, inputs, resuming
from cl_keras.training.step_loop import (
    StepCallbacks,
    StopOnNonFiniteLoss,
    default_steps_per_execution,
    step_loop,
)


class Trainable(keras.Model):
    """The training loop of `PretextModel`: under any strategy, and resumable at any batch."""

    num_images: int | None = None
    """Number of images, if the method keeps a row for each, which it finds by the index."""

    resuming_epoch = False
    """Whether the metrics keep their values when the next epoch begins; see `initial_batch`."""

    batch_size: int | None = None
    """Batch size of the current or last `fit`, if known; checkpoints record it."""

    steps_in_execution = 1
    """Number of steps of the next execution; set by `StepCallbacks`."""

    def compile(
        self,
        optimizer: str | keras.optimizers.Optimizer = "rmsprop",
        *,
        steps_per_execution: int | None = None,
        **kwargs: Any,
    ) -> None:
        """As `keras.Model.compile`, without a loss.

        Args:
            optimizer: a `keras.optimizers.Optimizer` or its name.
            steps_per_execution: steps between two calls of the callbacks; the last execution of an
                epoch has the remaining steps; default: 8 on a GPU, 1 on a CPU.
            **kwargs: `run_eagerly`, `jit_compile` and `auto_scale_loss`, as in Keras.

        Raises:
            ValueError: for metrics, for `jit_compile=True` on several replicas, or a model whose
                variables were not created within the scope of its strategy.
        """
        self._chose_steps_per_execution = steps_per_execution is None
        if steps_per_execution is None:
            steps_per_execution = default_steps_per_execution()
        checks.check_compile(self, kwargs)
        super().compile(optimizer, steps_per_execution=steps_per_execution, **kwargs)

    def compile_from_config(self, config):
        # Keras skips this when `compile` is overridden.
        self.compile(**keras.saving.deserialize_keras_object(config))
        self.optimizer.build(self.trainable_variables)

    def _maybe_symbolic_build(self, iterator=None, data_batch=None):
        # With several workers, Keras would average a batch of images and fail; and everything it
        # would build is already built.
        pass

    def make_train_function(self, force=False):
        if self.train_function is None or force:
            self._check_compiled()
            with self.distribute_strategy.scope():
                self.optimizer.build(self.trainable_variables)
            if self.distribute_strategy.num_replicas_in_sync == 1:
                self.last_gradient_norm.create()
            self.train_function = step_loop(self, self.train_step)
        return self.train_function

    def _check_compiled(self):
        if self.loss is not None:
            raise ValueError(
                f"{type(self).__name__} defines its own loss; call compile(optimizer) without one "
                f"(received loss={self.loss!r})."
            )
        replicas = self.distribute_strategy.num_replicas_in_sync
        gradients.check_optimizer(self.optimizer, replicas)

    def make_test_function(self, force=False):
        if self.test_function is None or force:
            self.test_function = step_loop(self, self.test_step)
        return self.test_function

    def fit(
        self,
        x: Any = None,
        y: None = None,
        *,
        batch_size: int | None = None,
        epochs: int = 1,
        initial_epoch: int = 0,
        initial_batch: int = 0,
        callbacks: Any = None,
        validation_data: Any = None,
        steps_per_epoch: int | None = None,
        shuffle: bool = True,
        **kwargs: Any,
    ) -> keras.callbacks.History:
        """Trains on images; as `keras.Model.fit`, without labels.

        The order of the images and their views depend only on the seeds and the epoch: a run that
        resumes at `initial_epoch` and `initial_batch` with restored variables continues as if it
        had never been interrupted. See `runs.Checkpoints`.

        Args:
            x: images, in one of the forms that the class describes.
            y: must be None, since images need no labels here.
            batch_size: global batch size, for an array or a source; default: 256.
            epochs: number of the last epoch; default: 1.
            initial_epoch: number of finished epochs; default: 0.
            initial_batch: number of finished batches of the epoch after them; default: 0. The
                metrics continue from their current values, so the logs cover the whole epoch.
            callbacks: a `keras.callbacks.Callback` or a list of them. Context-manager callbacks are
                entered before training and exited afterwards, even on error.
            validation_data: images for `evaluate` after each epoch.
            steps_per_epoch: steps per epoch, for an endless dataset.
            shuffle: whether to give an array or a source a new order in each epoch; a dataset keeps
                its own order; default: True.
            **kwargs: `verbose`, `validation_steps` and `validation_freq`, as in `keras.Model.fit`.

        Raises:
            ValueError: for images in another form, a batch of one image, a batch that cannot be
                divided among the replicas, an `initial_batch` beyond the epoch, or an argument of
                `keras.Model.fit` that needs labels.
            FloatingPointError: when the loss is not finite, with the position in the run.
        """
        checks.check_fit_arguments(self, kwargs | {"y": y})
        epochs = as_int(epochs, "epochs", at_least=0)
        x = self._image_batches(x, batch_size, shuffle=shuffle)
        self.batch_size = getattr(x, "batch_size", None)
        self.check_data(x)
        if self.num_images is not None:
            x = watch_index(x, self.num_images)
        steps = self._length_of(x, steps_per_epoch)
        own = self.method_callbacks(x.take(steps) if steps and x.cardinality() != steps else x)
        resuming.check_position(initial_batch, steps)
        if isinstance(x, Batches) or initial_batch:
            steps_per_epoch = steps
        test_steps = None
        if validation_data is not None:
            validation_data = self._image_batches(validation_data, batch_size, shuffle=False)
            test_steps = self._length_of(validation_data, kwargs.get("validation_steps"))
            validation_data = inputs.for_workers(self.distribute_strategy, validation_data)
        checks.check_callbacks(_as_list(callbacks))
        callbacks = [StopOnNonFiniteLoss(), *own, *_as_list(callbacks)]
        with resuming.enter_contexts(callbacks) as stack:
            options = {"train_steps": steps, "test_steps": test_steps, "add_history": True}
            options |= self._callback_options(steps, epochs, kwargs.get("verbose", "auto"))
            if initial_batch:
                callbacks = resuming.ResumedCallbacks(callbacks, finished=initial_batch, **options)
                stack.enter_context(callbacks)
            else:
                callbacks = StepCallbacks(callbacks, **options)
            return super().fit(
                inputs.for_workers(
                    self.distribute_strategy,
                    x,
                    lambda x: resuming.batches_from(x, initial_epoch, initial_batch, steps),
                ),
                epochs=epochs,
                initial_epoch=initial_epoch,
                steps_per_epoch=steps_per_epoch,
                callbacks=callbacks,
                validation_data=validation_data,
                shuffle=False,  # the dataset has its order already
                **kwargs,
            )

    def reset_metrics(self):
        if not self.resuming_epoch:
            super().reset_metrics()

    def evaluate(
        self, x: Any = None, y: None = None, *, batch_size: int | None = None, **kwargs: Any
    ) -> Any:
        """The loss, and the accuracy if the method has one, on held-out images; changes no state.

        Args:
            x: images, as in `fit`.
            y: must be None, since images need no labels here.
            batch_size: global batch size, for an array or a source; default: 256.
            **kwargs: as in `keras.Model.evaluate`.
        """
        checks.check_fit_arguments(self, kwargs | {"y": y})
        steps = kwargs.get("steps")
        if not isinstance(x, (type(None), tf.distribute.DistributedDataset)):
            x = self._image_batches(x, batch_size, shuffle=False)
            steps = self._length_of(x, steps)
            x = inputs.for_workers(self.distribute_strategy, x)
        if not isinstance(kwargs.get("callbacks"), StepCallbacks):
            kwargs["callbacks"] = StepCallbacks(
                _as_list(kwargs.get("callbacks")),
                test_steps=steps,
                **self._callback_options(steps, 1, kwargs.get("verbose", "auto")),
            )
        return super().evaluate(x, **kwargs)

    def predict(self, x: Any, **kwargs: Any) -> Any:
        """The representations of images, as `keras.Model.predict`.

        Warns where floats are not pixels of 0 … 255, and where batches are shuffled, so that row i
        of the result is not image i.

        Args:
            x: images as an array, a tensor, a source of `data.load` or a dataset of batches.
            **kwargs: as in `keras.Model.predict`.
        """
        if isinstance(x, Source):
            x = image_batches(x)
        if isinstance(x, (list, tuple)):
            raise ValueError(
                "predict takes images as one array [n, h, w, c], a source of data.load or a "
                f"dataset of batches; received a {type(x).__name__}. Give numpy.stack(images)."
            )
        if isinstance(x, Batches) and x.shuffled:
            warnings.warn(
                f"these batches of {x.source.name} are shuffled, and predict does not say which "
                "image a row belongs to: give batches(…, shuffle=False), or .in_order().",
                stacklevel=2,
            )
        if isinstance(x, tf.data.Dataset):
            x = pixel_range.watch_scale(x)
        elif isinstance(x, (np.ndarray, tf.Tensor)):
            pixel_range.warn_of_scale(np.asarray(x))
        return super().predict(x, **kwargs)

    def _callback_options(self, steps, epochs, verbose):
        return {
            "model": self,
            "add_progbar": verbose != 0,
            "verbose": verbose,
            "epochs": epochs,
            "steps": steps,
        }

    def _length_of(self, batches, steps):
        """Number of batches of an epoch, or None if it is not known."""
        length = count_steps(batches, steps)
        if length > 0:
            return length
        if self.steps_per_execution > 1 and not self._chose_steps_per_execution:
            raise ValueError(
                f"steps_per_execution={self.steps_per_execution} needs to know the number of "
                "batches of this dataset; give steps_per_epoch (steps, validation_steps), or call "
                ".apply(tf.data.experimental.assert_cardinality(...)) on it."
            )
        if self.steps_per_execution > 1:
            self.steps_per_execution = 1
            self.train_function = self.test_function = None
        return None

    def _image_batches(self, x, batch_size, *, shuffle):
        """Any form of images as a dataset of batches, checked."""
        batches = image_batches(x, batch_size, seed=self.seed, shuffle=shuffle, drop_remainder=True)
        replicas = self.distribute_strategy.num_replicas_in_sync
        checks.check_batches(batches, self.encoder, replicas, self.gradient_accumulation)
        if isinstance(batches, Batches) and batches.can_cut and hasattr(self.views, "cropper"):
            return batches.cut(self.views.cropper(self.seed))
        return batches


def _as_list(callbacks):
    """Callbacks in any form that Keras takes, as a list."""
    if callbacks is None:
        return []
    if isinstance(callbacks, keras.callbacks.Callback):
        return [callbacks]
    return list(getattr(callbacks, "callbacks", callbacks))
