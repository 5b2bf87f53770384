"""What all methods share: the model, its objective, the training loop, and resuming."""

from cl_keras.training.bank_model import BankModel
from cl_keras.training.contrastive_model import ContrastiveModel
from cl_keras.training.objective import Objective
from cl_keras.training.pretext_model import PretextModel

__all__ = ["BankModel", "ContrastiveModel", "Objective", "PretextModel"]
