#!/bin/sh
# Creates an environment with the libraries that this one is compared with: sh peers.sh FOLDER
set -eu
python3 -m venv "$1"
"$1/bin/pip" install torch torchvision albumentations pillow numpy
