"""Writes an encoder as a SavedModel for TensorFlow Serving.

  cl-keras export --run=runs/photos --out=export/photos

The next free version below --out is taken: export/photos/1, then 2. Its signatures are
`serving_default` (images of any size) and `serve_bytes` (encoded JPEG or PNG files), both to
`embedding`; with --classify_data also `classify`, by a linear classifier on the features that is
fitted to those labelled images.
"""

from absl import flags as absl_flags

from cl_keras import data, evaluation, export
from cl_keras.cli import trained


def define_flags(flags):
    """Declares the flags of the command."""
    trained.define_flags(flags)
    absl_flags.DEFINE_string("out", None, "Required. Folder of versions.", flag_values=flags)
    absl_flags.DEFINE_string(
        "classify_data", None, "Labelled images to fit a classifier to.", flag_values=flags
    )
    absl_flags.mark_flag_as_required("out", flag_values=flags)


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
