"""Downloads a file of the zoo in a process that imports only what that needs, not TensorFlow.

python -m tests.zoo.light ADDRESS SIZE SHA256
"""

import importlib
import pathlib
import sys
import types


def without_the_top():
    """Replaces `cl_keras` and `cl_keras.zoo`, which import everything, by empty packages."""
    folder = pathlib.Path(__file__).parents[2] / "cl_keras"
    for name, path in (("cl_keras", folder), ("cl_keras.zoo", folder / "zoo")):
        package = types.ModuleType(name)
        package.__path__ = [str(path)]
        sys.modules[name] = package


if __name__ == "__main__":
    without_the_top()
    cache = importlib.import_module("cl_keras.zoo.download.cache")
    cards = importlib.import_module("cl_keras.zoo.cards")
    assert not {"tensorflow", "keras"} & set(sys.modules), "downloads need no TensorFlow"
    address, size, sha256 = sys.argv[1:]
    file = cards.File("encoder", "cl_keras", "encoder.safetensors", int(size), sha256, None)
    print("ready", flush=True)
    sys.stdin.readline()
    fetched = cache.open_fetched("simclr_small_resnet_photos", file, address, progress=False)
    with fetched as (stream, _):
        print(stream.name)
