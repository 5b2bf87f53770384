"""Memory bank: InstDisc, whose negatives are the latest embeddings of all other images.

python examples/memory_bank.py
"""

import argparse

import cl_keras as cl


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--images", type=int, default=10_000, help="how many of the 10,000 bundled ones"
    )
    parser.add_argument("--epochs", type=int, default=8)
    args = parser.parse_args(arguments)

    # Any source works: cl.data.load("folder:photos", image_size=96), an array, TFDS.
    train = cl.data.Subset(cl.data.load("fashion_mnist_mini"), range(args.images))
    test = cl.data.load("fashion_mnist_mini/test")

    # Views, optimizer, schedule and options for this number and kind of images.
    kind = {"image_size": 28, "channels": 1}
    recipe = cl.InstDisc.recipe(images=len(train), epochs=args.epochs, preset="small", **kind)
    encoder = cl.encoders.small_resnet(**kind, **recipe.encoder_options)
    model = cl.InstDisc(encoder, views=recipe.views, **recipe.options)
    model.compile(recipe.optimizer)
    model.fit(train, batch_size=recipe.batch_size, epochs=recipe.epochs)

    vectors = cl.evaluation.features(model, train)
    accuracy = cl.evaluation.knn(vectors, cl.evaluation.features(model, test), k=20)
    print(f"k-NN accuracy: {accuracy['top1']:.3f}")

    # Each row of the bank belongs to one image; the nearest rows are those of similar images.
    bank = model.bank.bank.numpy()
    nearest, cosines = cl.evaluation.neighbors(bank, bank[:1], 5)
    print("nearest to image 0:", nearest[0].tolist(), cosines[0].round(2).tolist())


if __name__ == "__main__":
    main()
