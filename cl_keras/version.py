"""The version of cl_keras."""

__version__ = "0.1.0"
