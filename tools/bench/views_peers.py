"""The work of `views.py` in albumentations, which needs its own environment.

Run by `views.py`; `python views_peers.py TOPIC:IMAGES:FOLDER` does the work once for each line of
standard input.
"""

import itertools
import sys
from pathlib import Path

import albumentations
import cv2
import numpy as np
from alternating import serve


def simclr(size):
    """SimCLR's view; up to 64 pixels with half the jitter and without blur."""
    strength, small = (0.5, True) if size <= 64 else (1.0, False)
    jitter, hue = (1 - 0.8 * strength, 1 + 0.8 * strength), 0.2 * strength
    kernel = size // 10 // 2 * 2 + 1
    steps = [
        albumentations.RandomResizedCrop((size, size), scale=(0.08, 1.0)),
        albumentations.HorizontalFlip(p=0.5),
        albumentations.ColorJitter(jitter, jitter, jitter, (-hue, hue), p=0.8),
        albumentations.ToGray(p=0.2),
    ]
    if not small:
        blur = albumentations.GaussianBlur((kernel, kernel), sigma_limit=(0.1, 2.0), p=0.5)
        steps.append(blur)
    return albumentations.Compose(steps)


def main(topic, count, folder):
    cv2.setNumThreads(1)
    if topic == "jpeg":
        transform, paths = simclr(224), sorted(Path(folder).glob("*.jpg"))

        def images():
            for path in itertools.islice(itertools.cycle(paths), int(count)):
                yield cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
    else:
        size = int(topic)
        transform, random = simclr(size), np.random.default_rng(0)
        held = random.integers(0, 256, [int(count), size, size, 3]).astype("uint8")

        def images():
            return held

    def work():
        for image in images():
            for _ in range(2):
                transform(image=image)

    serve(work)


if __name__ == "__main__":
    main(*sys.argv[1].split(":"))
