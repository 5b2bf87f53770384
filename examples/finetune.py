"""Fine-tune weights of the zoo on a folder of labeled images, and export the classifier.

    python examples/finetune.py --zoo=NAME --data=folder:train --test_data=folder:test \\
        --out=export/mine

`cl-keras zoo list` shows the names. Each subfolder of `train` is a class. TensorFlow Serving can
serve the SavedModel in --out; its signature `classify` takes images of any size.
"""

import argparse

import keras
import tensorflow as tf

import cl_keras as cl


def main(arguments=None):
    options = parse(arguments)
    keras.utils.set_random_seed(options.seed)

    # The encoder is an ordinary keras.Model from pixels in 0..255 to a vector. Load the images with
    # the size and channels that it was trained on.
    encoder = cl.zoo.load(options.zoo)
    kind = {"image_size": cl.encoders.image_size(encoder), "channels": encoder.input_shape[-1]}
    train = cl.data.load(options.data, **kind)
    if not train.has_labels:
        raise SystemExit("--data needs labels: one folder per class, or a labeled data set.")
    names = train.class_names or [str(label) for label in range(train.labels.max() + 1)]
    print(f"{len(train)} images of {len(names)} classes; {encoder.count_params():,} weights.")

    head = keras.layers.Dense(len(names), name="classes")
    classifier = keras.Sequential([keras.Input(encoder.input_shape[1:]), encoder, head])

    # First train only the new head: while its weights are random, its gradients would harm the
    # encoder. A frozen encoder also keeps its batch normalization statistics.
    encoder.trainable = False
    fit(classifier, train, options.head_epochs, rate=1e-2, options=options)

    # Then train everything, with a small learning rate that decays to zero.
    encoder.trainable = True
    fit(classifier, train, options.epochs, rate=options.learning_rate, options=options)

    if options.test_data:
        test = cl.data.load(options.test_data, **kind)
        batches = test.batches(options.batch_size, shuffle=False).map(image_and_label)
        accuracy = classifier.evaluate(batches, verbose=0, return_dict=True)["accuracy"]
        print(f"{100 * accuracy:.1f} % of {len(test)} test images are classified correctly.")

    # With the head's two arrays, `saved_model` adds the signature `classify`.
    kernel, bias = (variable.numpy() for variable in head.variables)
    path = cl.export.saved_model(encoder, options.out, head=(kernel, bias), class_names=names)
    print(f"The SavedModel is in {path}.")
    return path


def fit(classifier, train, epochs, *, rate, options):
    """Trains the trainable weights for some epochs on randomly mirrored images."""
    batches = train.batches(min(options.batch_size, len(train)), seed=options.seed)
    steps = batches.steps_per_epoch
    schedule = keras.optimizers.schedules.CosineDecay(rate, max(1, epochs * steps))
    classifier.compile(
        keras.optimizers.AdamW(schedule, weight_decay=1e-4),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    # `from_epoch` yields endless epochs, each in its own order.
    images = batches.from_epoch(0).map(image_and_label).map(mirrored)
    classifier.fit(images, epochs=epochs, steps_per_epoch=steps, shuffle=False, verbose=2)


def image_and_label(element):
    return element["image"], element["label"]


def mirrored(images, labels):
    """Mirrors at random. Omit this if left and right matter, as for letters or road signs."""
    return tf.image.random_flip_left_right(images), labels


def parse(arguments):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--zoo", required=True, help="name of the zoo entry")
    parser.add_argument("--data", required=True, help="labeled images: folder:PATH, tfds:NAME")
    parser.add_argument("--test_data", help="labeled images to test the result on")
    parser.add_argument("--out", required=True, help="folder for the exported versions")
    parser.add_argument("--epochs", type=int, default=20, help="for all weights")
    parser.add_argument(
        "--head_epochs", type=int, default=5, help="for the head alone, before that"
    )
    parser.add_argument("--learning_rate", type=float, default=3e-4, help="for all weights")
    parser.add_argument("--batch_size", type=int, default=64)
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
