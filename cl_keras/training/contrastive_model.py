"""The base of methods with candidates: a temperature, and the accuracy of the queries."""

from collections.abc import Callable
from typing import Any

import keras

from cl_keras.similarity import check_temperature
from cl_keras.training.pretext_model import PretextModel


class ContrastiveModel(PretextModel):
    """A method in which each query must find its positive among candidates.

    The metric `contrastive_accuracy` is the share of queries whose positive has the highest score.

    Args:
        encoder: a `keras.Model` from images to vectors, or to a feature map, which is pooled.
        views: a callable `(images, seed, step, first_row) -> views` with `image_size`.
        temperature: τ of the loss, above 0.
        **kwargs: as for `PretextModel`.

    Raises:
        ValueError: for a temperature that is not above 0.
    """

    accuracy_name = "contrastive_accuracy"

    def __init__(self, encoder: keras.Model, *, views: Callable, temperature: float, **kwargs):
        super().__init__(encoder, views=views, **kwargs)
        self.temperature = check_temperature(temperature)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "temperature": self.temperature}
