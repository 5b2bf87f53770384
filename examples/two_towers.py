"""Two towers: an encoder for each of two folders, whose files of the same name belong together.

python examples/two_towers.py google/64 twitter/64 --image_size=32
"""

import argparse
import hashlib

import keras
import numpy as np
import tensorflow as tf

import cl_keras as cl


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folders", nargs=2)
    parser.add_argument("--image_size", type=int, default=32)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(arguments)
    keras.utils.set_random_seed(args.seed)
    kind = {"image_size": args.image_size, "channels": 3}
    sources = [cl.data.load(f"folder:{folder}", **kind) for folder in args.folders]
    rows = [{image.name: row for row, image in enumerate(s.identity().images)} for s in sources]
    names = sorted(rows[0].keys() & rows[1].keys())
    sides = [s.images([row[name] for name in names]) for s, row in zip(sources, rows, strict=True)]
    # Hold out one pair in five, by the name up to the first hyphen: variants stay together.
    digests = [hashlib.sha256(name.partition("-")[0].encode()).digest()[0] for name in names]
    held_out = np.array(digests) % 5 == 0
    train, test = [x[~held_out] for x in sides], [x[held_out] for x in sides]

    # The data say what belongs together; the views only add invariance to crops.
    changes = {"crop_area": (0.5, 1.0), "flip": 0.0, "color_probability": 0.0}
    view, pair = (make(**kind, **changes) for make in (cl.views.inst_disc, cl.views.simclr))
    encoders = [cl.encoders.small_resnet(**kind) for _ in range(3)]
    towers = cl.TwoTower(*encoders[:2], views=view, other_views=view, seed=args.seed)
    simclr = cl.SimCLR(encoders[2], views=pair, temperature=0.2, seed=args.seed)

    batch, both = min(128, len(train[0])), np.concatenate(train)
    steps = args.epochs * (len(train[0]) // batch)
    for model, images in (towers, dict(image=train[0], other=train[1])), (simclr, dict(image=both)):
        rate = cl.optimizers.warmup_cosine(3e-3, warmup_steps=min(20, steps - 1), steps=steps)
        model.compile(keras.optimizers.AdamW(rate))
        shuffled = tf.data.Dataset.from_tensor_slices(images).shuffle(10_000, args.seed).repeat()
        model.fit(shuffled.batch(batch), steps_per_epoch=steps, verbose=2)

    vectors = {"two towers": (towers.embed(test[0]), towers.embed_other(test[1]))}
    pca = cl.evaluation.pca_whitened(both, progress=False)
    for name, f in {"pixels": cl.evaluation.raw_pixels, "PCA": pca, "SimCLR": simclr}.items():
        vectors[name] = [f(side) for side in test]
    print(f"Trained on {len(train[0])} pairs. Retrieval among {len(test[0])} unseen ones:")
    for name, found in vectors.items():
        print(name, cl.evaluation.cross_retrieval(*map(np.array, found), ks=(1, 5)))


if __name__ == "__main__":
    main()
