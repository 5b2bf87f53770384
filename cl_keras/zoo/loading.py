"""From a name of the zoo to a model with its weights."""

from cl_keras.zoo import cards, catalogue, client
from cl_keras.zoo.imports import converted
from cl_keras.zoo.weights import building, variables


def load(name, *, kind="encoder", progress=True):
    """A published model: downloaded if need be, checked, built and filled.

        encoder = cl_keras.zoo.load("simclr_small_resnet_fashion_mnist_mini")
        classifier = keras.Sequential([encoder, keras.layers.Dense(10)])

    Args:
        name: of the entry; `zoo.list()` has them all.
        kind: "encoder", or "pretraining" for the whole method with head, queue or bank, where the
            entry has it.
        progress: show a progress bar of the download.

    Returns:
        For "encoder" a trainable `keras.Model` from images in 0..255 (its preprocessing is inside)
        to `[B, D]`, ready for `fit` and `export.saved_model`. For "pretraining" the compiled
        method, ready to be trained on; the optimizer begins anew.

    Raises:
        ValueError: if there is no such entry or kind of file, or its files are not the card's.
        OSError: if a file cannot be had.
    """
    entry = catalogue.find(name)
    file = entry.card.file(kind)
    if file.format != cards.OWN_FORMAT:
        return converted.load(entry, file, progress=progress)
    if kind == "encoder":
        model = building.encoder(entry.card.encoder)
    else:
        model = building.pretraining(entry.card, file)
    with client.open_verified(entry, file, progress=progress) as stream:
        variables.fill(model, stream, f"{entry.card.name}: {file.address}")
    return model
