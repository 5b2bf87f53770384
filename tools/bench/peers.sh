#!/bin/sh
# Makes the environment of the libraries that are measured beside this one: sh peers.sh FOLDER
set -eu
python3 -m venv "$1"
"$1/bin/pip" install torch torchvision albumentations pillow numpy
