"""Fits a classifier to labeled images."""

from cl_keras import data, downstream
from cl_keras.cli import outputs, trained
from cl_keras.cli.commands import Finetune
from cl_keras.downstream.finetuning import Whole


def main(flags: Finetune) -> None:
    """Fits the classifier and writes its folder."""
    outputs.make_folder(flags.out)
    encoder = trained.load_encoder(flags)
    labels = "auto" if flags.labels is None else flags.labels
    source = data.load(flags.data, labels=labels, **trained.image_options(encoder))
    whole = None
    if flags.whole:
        names = ("epochs", "patience", "learning_rate", "batch_size", "flip")
        whole = Whole(**{name: getattr(flags, name) for name in names})
    classifier = downstream.finetune(
        encoder, source, held_out=flags.held_out, whole=whole, seed=flags.seed
    )
    classifier.save(flags.out)
    known = len(classifier.bank)
    print(f"A classifier of {len(classifier.class_names)} classes from {known} labeled images.")
    if (result := classifier.held_out) is None:
        print("No image was held out, so its accuracy is not known.")
    else:
        low, high = (100 * end for end in result.interval)
        print(
            f"Accuracy on {result.images} held-out images, as a mean over the classes: "
            f"{100 * result.accuracy:.1f} % (95 % interval {low:.1f} % to {high:.1f} %)."
        )
    print(f"It is in {flags.out}; use it with `cl-keras predict --classifier={flags.out}`.")
