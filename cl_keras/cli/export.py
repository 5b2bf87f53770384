"""Writes an encoder as a SavedModel for TensorFlow Serving."""

import sys

from cl_keras import data, evaluation, export
from cl_keras.cli import trained
from cl_keras.cli.commands import Export
from cl_keras.runs import Run


def main(flags: Export) -> None:
    """Writes the next version."""
    encoder = trained.load_encoder(flags)
    images = Run(flags.run).images if flags.run is not None else None
    names = [image.name for image in images.images] if images is not None else []
    if tiffs := data.unserved(names):
        print(data.name_unserved(tiffs, len(names)), file=sys.stderr)
    head, class_names = None, None
    if flags.classify_data is not None:
        source = data.load(flags.classify_data, **trained.image_options(encoder))
        if not source.has_labels:
            raise ValueError(f"--classify_data needs labels; {source.name} has none.")
        found = evaluation.features(encoder, source)
        assert found.labels is not None  # as the source has them
        head = evaluation.fit_linear_head(found.vectors, found.labels)
        class_names = source.class_names
    path = export.saved_model(encoder, flags.out, head=head, class_names=class_names)
    print(f"The SavedModel is in {path}.")
