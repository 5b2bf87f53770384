#!/bin/sh
# Make a virtual environment with this package and all that its tests need, unless it is there.
#   sh tools/environment.sh FOLDER
# It is run from the root of the repository. Two environment variables may say more:
#   PYTHON      an interpreter; default: the newest of 3.11 to 3.13
#   TENSORFLOW  cpu, gpu or tensorflow, an extra of setup.py; default: what is there, or cpu
set -eu
folder=$1
stamp=$folder/.installed # which TensorFlow, and a checksum of what it was made from
serving="tensorflow-serving-api>=2.19,<2.22" # without its dependencies: it names a TensorFlow

case ${TENSORFLOW:-cpu} in
cpu | gpu | tensorflow) ;;
*) echo "TENSORFLOW must be cpu, gpu or tensorflow; received $TENSORFLOW." >&2 && exit 1 ;;
esac

suits() {
    "$1" -c 'import sys, ensurepip, venv; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' \
        >/dev/null 2>&1
}

find_python() {
    for candidate in ${PYTHON:-python3.13 python3.12 python3.11 python3 python}; do
        if suits "$candidate"; then
            echo "$candidate"
            return
        fi
    done
    echo "No Python 3.11, 3.12 or 3.13 with venv and ensurepip among:" \
        "${PYTHON:-python3.13 python3.12 python3.11 python3 python}." >&2
    echo "Install one (Debian, Ubuntu: python3-venv too), or name it: make test PYTHON=/path/to/python" >&2
    return 1
}

refuse() {
    echo "$folder has $1; to change that, remove it first: make distclean" >&2
    exit 1
}

version() {
    "$1" -c 'import platform; print(platform.python_version())'
}

installed=
made_from=
if "$folder/bin/python" -c "" >/dev/null 2>&1; then
    if [ -f "$stamp" ]; then
        read -r installed made_from <"$stamp"
    fi
    if [ -n "${PYTHON:-}" ] && [ "$(version "$PYTHON")" != "$(version "$folder/bin/python")" ]; then
        refuse "Python $(version "$folder/bin/python")"
    fi
    # The distributions of TensorFlow own the same files: one cannot be laid over the other.
    if [ -n "$installed" ] && [ "${TENSORFLOW:-$installed}" != "$installed" ]; then
        refuse "TensorFlow ($installed)"
    fi
else
    python=$(find_python)
    echo "Making $folder with Python $(version "$python")."
    rm -rf "$folder" # if it is there, its Python is gone
    "$python" -m venv "$folder"
fi

tensorflow=${TENSORFLOW:-${installed:-cpu}}
wanted=$(cat setup.py pyproject.toml cl_keras/version.py "$0" | cksum)
if [ "$installed $made_from" = "$tensorflow $wanted" ]; then
    exit 0
fi

echo "Installing TensorFlow ($tensorflow) and the rest into $folder: one to five minutes, 1 to 2 GB."
echo "$tensorflow unfinished" >"$stamp"
pip="$folder/bin/python -m pip --disable-pip-version-check"
$pip install -qq -e ".[$tensorflow,test]"
$pip install -qq --no-deps "$serving"
echo "$tensorflow $wanted" >"$stamp"
