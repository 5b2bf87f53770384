"""Encoders, i.e. networks that turn images into representations."""

from cl_keras.encoders.any_model import as_encoder, image_size
from cl_keras.encoders.batch_norm import BatchNormalization
from cl_keras.encoders.convolution import Convolution
from cl_keras.encoders.feature_maps import FeatureMaps, feature_map
from cl_keras.encoders.preprocessing import Preprocessing
from cl_keras.encoders.resnet import resnet18, resnet34, resnet50, small_resnet

__all__ = [
    "BatchNormalization",
    "Convolution",
    "FeatureMaps",
    "Preprocessing",
    "as_encoder",
    "feature_map",
    "image_size",
    "resnet18",
    "resnet34",
    "resnet50",
    "small_resnet",
]
