"""Writes an encoder as a SavedModel for TensorFlow Serving."""

from cl_keras import data, evaluation, export
from cl_keras.cli import trained


def main(flags):
    """Writes the next version."""
    encoder = trained.load_encoder(flags)
    head, class_names = None, None
    if flags.classify_data is not None:
        source = data.load(flags.classify_data, **trained.image_options(encoder))
        if not source.has_labels:
            raise ValueError(f"--classify_data needs labels; {source.name} has none.")
        found = evaluation.features(encoder, source)
        head = evaluation.fit_linear_head(found.vectors, found.labels)
        class_names = source.class_names
    path = export.saved_model(encoder, flags.out, head=head, class_names=class_names)
    print(f"The SavedModel is in {path}.")
