"""Makes small checkpoints, so that tests of the import need no PyTorch.

    PYTHONPATH=. python tools/make_import_fixtures.py

Needs PyTorch. Each checkpoint has the keys, nesting and format of its authors' code, with networks
of a few channels; the features that PyTorch computes with them are saved in `expected.npz`.
"""

import pathlib

import numpy as np
import torch

from tests.zoo.imports import torch_networks

FOLDER = pathlib.Path(__file__).parents[1] / "tests/zoo/imports/fixtures"
SIZES = {
    "moco_v1": ("resnet18", 1),
    "moco_v2": ("resnet18", 1),
    "moco_bare": ("resnet18", 1),
    "vicreg": ("resnet50", 1),
    "vicreg_full": ("resnet18", 1),
    "simsiam": ("resnet18", 1),
    "lightning": ("resnet18", 1),
    "moco_v3": ("resnet18", 1),
    "pcl_v2": ("resnet18", 1),
    "swav": ("resnet50", 1),
    "deepcluster_v2": ("resnet18", 2),
    "pirl_vissl": ("resnet50", 1),
    "instdisc": ("resnet18", 2),
    "barlow_twins": ("resnet50", 1),
    "barlow_twins_full": ("resnet18", 1),
    "dino": ("resnet18", 1),
    "dino_full": ("resnet18", 1),
    "torchvision": ("resnet34", 1),
    "torchvision_without_fc": ("resnet18", 2),
}
IMAGE_SIZES = (64, 97)


def main():
    torch.manual_seed(0)
    FOLDER.mkdir(exist_ok=True)
    rng = np.random.default_rng(0)
    images = {
        size: rng.integers(0, 256, [2, size, size, 3], dtype=np.uint8) for size in IMAGE_SIZES
    }
    expected = {f"images_{size}": batch for size, batch in images.items()}
    for name, (_, make, form) in torch_networks.CHECKPOINTS.items():
        encoder, value = make(*SIZES[name])
        path = FOLDER / f"{name}.pth"
        torch_networks.save(value, path, form)
        for size, batch in images.items():
            expected[f"{name}_{size}"] = torch_networks.features(encoder, batch)
        print(f"{path.name}: {path.stat().st_size / 1000:.0f} kB")
    np.savez_compressed(FOLDER / "expected.npz", **expected)


if __name__ == "__main__":
    main()
