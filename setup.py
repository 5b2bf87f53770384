"""Packaging. What each requirement is for stands beside it."""

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
VERSION = re.search(r'__version__ = "(.+)"', (HERE / "cl_keras/version.py").read_text()).group(1)
README = HERE / "README.md"

# TensorFlow comes as one of three distributions that own the same files, and pip knows no "one of".
# So, as with Keras, the user chooses by an extra; `import cl_keras` says so where none is there.
TENSORFLOW = ">=2.21,<2.22"
X86 = "(platform_machine == 'x86_64' or platform_machine == 'AMD64')"
NOT_X86 = "(platform_machine != 'x86_64' and platform_machine != 'AMD64')"
HAS_CPU_WHEEL = f"sys_platform != 'darwin' and {X86}"
NO_CPU_WHEEL = f"sys_platform == 'darwin' or {NOT_X86}"

setup(
    name="cl-keras",
    version=VERSION,
    description="Contrastive learning for Keras: from a folder of images to a served encoder.",
    long_description=README.read_text(encoding="utf-8") if README.exists() else "",
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    license_files=["LICENSE", "cl_keras/data/bundled/LICENSE-*"],
    python_requires=">=3.11,<3.14",
    packages=find_packages(include=["cl_keras", "cl_keras.*"]),
    package_data={"cl_keras": ["py.typed", "data/bundled/*", "zoo/catalog.json"]},
    entry_points={"console_scripts": ["cl-keras = cl_keras.cli.main:run"]},
    install_requires=[
        "keras>=3.15,<3.16",
        "tensorflow-datasets>=4.9.10",  # data.load("tfds:...")
        "importlib_resources",  # tensorflow-datasets 4.9.10 uses it to prepare, undeclared
        "tensorboard>=2.20",  # tf.summary writes by it; TensorFlow 2.21 no longer brings it
        "absl-py",  # the command line
        "numpy>=1.26",
        "scipy>=1.11",  # L-BFGS of the linear probe
        "threadpoolctl>=3",  # the linear probe keeps BLAS to one thread
        "numba>=0.61",  # random views on a CPU: loops over pixels that stay in the cache
        "pyarrow",  # features as Parquet; tensorflow-datasets brings it anyway
        "pillow>=10.1",  # image folders, grids of views
        "matplotlib>=3.8",  # curves and maps of the report
        "tqdm",  # progress bars
        "urllib3>=2.2",  # the zoo's downloads; tensorflow-datasets brings it anyway
        "safetensors>=0.5",  # the zoo's own weights: tensors without code
        "google-crc32c",  # checksums of the TensorFlow checkpoints that the zoo imports
    ],
    extras_require={
        "tensorflow": [f"tensorflow{TENSORFLOW}"],
        "gpu": [f"tensorflow[and-cuda]{TENSORFLOW}"],
        "cpu": [
            f"tensorflow-cpu{TENSORFLOW}; {HAS_CPU_WHEEL}",
            f"tensorflow{TENSORFLOW}; {NO_CPU_WHEEL}",
        ],
        "hf": ["huggingface_hub>=0.30"],  # hf:// addresses of the zoo
        "faiss": ["faiss-cpu>=1.9"],  # another engine for downstream.Index
        "test": [
            "pytest>=8",
            "pytest-xdist",  # tests trace graphs most of the time, on one core each
            "mypy>=1.18",  # the types of the public surface
            "ruff>=0.17,<0.18",  # another version formats otherwise
            "scikit-learn",  # an independent implementation to test against
        ],
    },
    classifiers=[
        "Development Status :: 4 - Beta",
        "Intended Audience :: Developers",
        "Intended Audience :: Science/Research",
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Topic :: Scientific/Engineering :: Image Recognition",
    ],
    keywords="contrastive self-supervised representation learning keras tensorflow simclr",
)
