"""The work of `files.py` in torchvision, which needs its own environment.

Run by `files.py`; `python files_peers.py TOPIC:EPOCHS:BATCH:FOLDER` does the work once for each
line of standard input. The CPU time of the workers is not counted.
"""

import os
import sys

from alternating import serve
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder
from torchvision.transforms import PILToTensor


def main(topic, epochs, batch, folder):
    def load():
        return ImageFolder(folder, PILToTensor())

    def read():
        workers = {"num_workers": os.cpu_count(), "persistent_workers": True}
        batches = DataLoader(load(), int(batch), shuffle=True, drop_last=True, **workers)
        for _ in range(int(epochs)):
            for _ in batches:
                pass

    serve(load if topic == "load" else read)


if __name__ == "__main__":
    main(*sys.argv[1].split(":"))
