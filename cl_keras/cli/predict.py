"""Classifies images, and flags those that are unlike all labeled ones."""

import csv
import io

from cl_keras import data, downstream
from cl_keras.cli import outputs
from cl_keras.cli.commands import Predict
from cl_keras.files import write_atomically


def main(flags: Predict) -> None:
    """Writes the table of predictions."""
    path = outputs.checked(flags.out, ".csv")
    classifier = downstream.Classifier.load(flags.classifier)
    source = data.load(flags.data, labels=None, **classifier.image_options)
    found = classifier.predict(source)
    write_atomically(path, as_csv(classifier, source, found))
    unusual = int(found.unusual.sum())
    print(f"{path} has the classes of {len(found.classes)} images; {unusual} are unusual.")
    for name, reason in source.skipped[:10]:
        print(f"Left out: {name}: {reason}")


def as_csv(
    classifier: downstream.Classifier, source: data.Source, found: downstream.Predictions
) -> str:
    """The predictions as a table."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    columns = [f"p({name})" for name in classifier.class_names]
    writer.writerow(["file", "class", "probability", "distance", "unusual", *columns])
    for row, index in enumerate(found.index):
        name = source.names[index] if source.names is not None else index
        shares = [f"{share:.4f}" for share in found.probabilities[row]]
        winner = found.classes[row]
        facts = [shares[winner], f"{found.distance[row]:.4f}", int(found.unusual[row])]
        writer.writerow([name, classifier.class_names[winner], *facts, *shares])
    return text.getvalue()
