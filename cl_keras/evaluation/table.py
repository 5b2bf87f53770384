"""Encoders and their baselines, side by side."""

import numpy as np

from cl_keras.evaluation.checks import positive
from cl_keras.evaluation.disturbed import DISTURBANCE, disturb, find_original
from cl_keras.evaluation.features import encode_function, features, image_batches
from cl_keras.evaluation.few_labels import few_labels
from cl_keras.evaluation.knn import knn_of_several
from cl_keras.evaluation.linear import linear_probe

MEASURES = {
    "knn": "k-NN",
    "disturbed_knn": "k-NN, disturbed",
    "find_original": "find the original",
    "linear": "linear",
    "linear_10_percent": "linear, 10 % labels",
    "linear_1_percent": "linear, 1 % labels",
}
"""The main measures of a row, and what people call them."""


def table(
    encoders,
    train_source,
    test_source,
    *,
    k=20,
    also_k=200,
    temperature=0.07,
    gallery=2000,
    linear=True,
    seed=0,
    progress=True,
):
    """Measures several encoders by one protocol.

    For each: weighted k-NN on the clean test images; on disturbed test images (see `disturb`);
    and how often a disturbed test image finds its original. The bank of both k-NN measures is the
    clean training set. With `linear`, also a linear probe, on all labels and on 10 % and 1 % of
    them.

    Args:
        encoders: {name: `keras.Model` or function from images to vectors}, such as
            `{"raw pixels": raw_pixels, "PCA-128": pca_whitened(train), "SimCLR": model}`.
        train_source: a source, or what else `features` takes.
        test_source: likewise, square images. Without labels here or there only the last measure
            is taken.
        k: neighbours that vote.
        also_k: neighbours of a second k-NN figure, or None.
        temperature: τ of the votes.
        gallery: find the original among this many test images, drawn without labels (all, if
            there are fewer).
        linear: fit linear probes too, where there are labels.
        seed: of the disturbances, the draw and the few labels.
        progress: show progress bars.

    Returns:
        `{"rows": [{"name": …, "knn": share, "disturbed_knn": share, "find_original": share,
        "knn_200": share, "disturbed_knn_200": share, "linear": share, "linear_10_percent": share,
        "linear_1_percent": share}, …], "protocol": {…}}`.

    Raises:
        ValueError: no encoder, or images that do not fit.
    """
    if not encoders:
        raise ValueError("Expected at least one encoder {name: model}; received none.")
    ks = [positive("k", k)] + ([] if also_k is None else [positive("also_k", also_k)])
    rows = []
    for name, encoder in encoders.items():
        train, test, disturbed = _encode_all(
            name, encode_function(encoder), train_source, test_source, seed, progress
        )
        row = {"name": name}
        if train.labels is not None and test.labels is not None:
            row |= _knn_row(train, test, disturbed, ks, temperature)
            row |= _linear_row(train, test, seed) if linear else {}
        seen = _gallery(len(test), gallery, seed)
        found = find_original(test.vectors[seen], disturbed.vectors[seen])
        row["find_original"] = found["top1"]
        rows.append({key: row[key] for key in _order(row)})
    protocol = {
        "knn": f"cosine, k {k}, votes weighted exp(s/{temperature:g}); bank: the clean train set",
        "disturbance": {key: _plain(value) for key, value in DISTURBANCE.items()},
        "linear": "multinomial logistic regression on frozen, standardised features (l2 1); few "
        "labels: the mean over 5 draws",
        "find_original": f"top-1 among {len(seen)} test images, cosine",
        "k": int(k),
        "also_k": also_k,
        "temperature": float(temperature),
        "train_images": len(train),
        "test_images": len(test),
        "gallery": len(seen),
        "seed": int(seed),
    }
    return {"rows": rows, "protocol": protocol}


def _encode_all(name, encode, train_source, test_source, seed, progress):
    """The features of the bank, of the test images, and of these disturbed."""
    streams = {
        "bank": train_source,
        "test": test_source,
        "disturbed": Disturbed(test_source, seed),
    }
    return [
        features(encode, images, progress=progress and f"{name}: {part}")
        for part, images in streams.items()
    ]


def _knn_row(train, test, disturbed, ks, temperature):
    """k-NN of the clean and of the disturbed test images; the first k has the plain names."""
    row = {}
    for key, queries in (("knn", test), ("disturbed_knn", disturbed)):
        scores = knn_of_several(
            train.vectors,
            train.labels,
            queries.vectors,
            queries.labels,
            ks=ks,
            temperature=temperature,
        )
        row |= {key if k == ks[0] else f"{key}_{k}": scores[k]["top1"] for k in ks}
    return row


class Disturbed:
    """The batches of `features`, each image disturbed; in the same order, again at every pass.

    Args:
        batches: square images, as `features` takes them.
        seed: see `disturb`.
    """

    def __init__(self, batches, seed=0):
        self._images, self._seed = batches, seed

    def __length_hint__(self):
        return image_batches(self._images)[1] or 0

    def __iter__(self):
        first = chunk = 0
        for element in image_batches(self._images)[0]:
            images = np.asarray(element["image"])
            chunk = max(chunk, len(images))
            disturbed = disturb(images, seed=self._seed, first_row=first, chunk=chunk)
            yield {**element, "image": disturbed}
            first += len(images)


def _linear_row(train, test, seed):
    """Linear probes on all labels, and on few of them (means over draws)."""
    parts = (train.vectors, train.labels, test.vectors, test.labels)
    return {
        "linear": linear_probe(*parts)["top1"],
        "linear_10_percent": few_labels(*parts, share=0.1, seed=seed)["top1"],
        "linear_1_percent": few_labels(*parts, share=0.01, seed=seed)["top1"],
    }


def _gallery(rows, size, seed):
    """Ascending places of `size` of `rows`, drawn by `seed`."""
    size = min(rows, positive("gallery", size))
    return np.sort(np.random.default_rng(seed).permutation(rows)[:size])


def _order(row):
    """The keys of a row, the three main measures first."""
    main = ["name", "knn", "disturbed_knn", "find_original"]
    return [key for key in main if key in row] + [key for key in row if key not in main]


def _plain(value):
    return list(value) if isinstance(value, tuple) else value
