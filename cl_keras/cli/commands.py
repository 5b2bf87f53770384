"""The commands: what each is for, and its flags. Nothing here imports TensorFlow.

The module of the same name in this folder does the work: its `main` takes one object for each
option class, in the order of `Command.options`, and the action where the command has several.
"""

import dataclasses

from cl_keras.recipes.config import Config, Execution
from cl_keras.recipes.options import Options, option


@dataclasses.dataclass(frozen=True)
class TrainedEncoder(Options):
    """Which encoder a command is about."""

    run: str | None = option(None, "Folder of a finished run.")
    encoder: str | None = option(None, "Instead of --run: a .keras file of an encoder or model.")
    zoo: str | None = option(None, "Instead of --run: name of an entry; see `cl-keras zoo`.")


@dataclasses.dataclass(frozen=True)
class Evaluate(TrainedEncoder):
    """Flags of `evaluate`."""

    data: str | None = option(None, "Training images; default: those of the run.")
    train_data: str | None = option(None, "The same as --data.")
    test_data: str | None = option(None, "Images to classify; default: --test_data of the run.")
    out: str | None = option(
        None, "With --zoo or --encoder: a folder for evaluation.json and report.html."
    )


@dataclasses.dataclass(frozen=True)
class Embed(TrainedEncoder):
    """Flags of `embed`."""

    data: str = option("", "The images, as for pretrain.", required=True)
    out: str = option("", "A new file, .npz or .parquet.", required=True)
    batch_size: int = option(256, "Images at a time.", minimum=1)
    max_bad_share: float = option(
        0.05, "Share of unreadable files above which to stop.", minimum=0, maximum=1
    )


@dataclasses.dataclass(frozen=True)
class Export(TrainedEncoder):
    """Flags of `export`."""

    out: str = option("", "Folder of versions.", required=True)
    classify_data: str | None = option(None, "Labeled images to fit a classifier to.")


@dataclasses.dataclass(frozen=True)
class Finetune(TrainedEncoder):
    """Flags of `finetune`."""

    data: str = option("", "Labeled images: class folders, or see --labels.", required=True)
    labels: str | None = option(None, "A table of labels, .csv, with the columns file,label.")
    out: str = option("", "Folder of the classifier.", required=True)
    whole: bool = option(False, "Train all weights; default: the encoder stays as it is.")
    held_out: float = option(0.2, "Share of each class that is held out.", minimum=0.0, maximum=0.5)
    epochs: int = option(30, "With --whole: the most passes over the images.", minimum=1)
    patience: int = option(
        5, "With --whole: epochs without progress after which it stops.", minimum=1
    )
    learning_rate: float = option(3e-4, "With --whole: peak of the learning rate.", above=0)
    batch_size: int = option(32, "With --whole: images per step.", minimum=1)
    flip: bool = option(False, "With --whole: mirror images at random.")
    seed: int = option(0, "Seed of the split and the order.")


@dataclasses.dataclass(frozen=True)
class Predict(Options):
    """Flags of `predict`."""

    classifier: str = option("", "Folder that finetune wrote.", required=True)
    data: str = option("", "The images, as for pretrain.", required=True)
    out: str = option("", "A new file, .csv.", required=True)


@dataclasses.dataclass(frozen=True)
class Search(TrainedEncoder):
    """Flags of `search`."""

    query: str = option("", "An image file.", required=True)
    data: str | None = option(None, "Images to search; default: those of the run.")
    k: int = option(10, "How many images to show.", minimum=1)
    index: str | None = option(
        None, "File of the index, .npz; default: index.npz in the run folder."
    )
    engine: str = option(
        "blocks",
        "What searches; both are exact. faiss is faster on millions of images, and an extra: "
        'pip install "cl-keras[faiss]".',
        choices=("blocks", "faiss"),
    )


@dataclasses.dataclass(frozen=True)
class Select(TrainedEncoder):
    """Flags of `select`."""

    data: str | None = option(None, "The images; default: those of the run.")
    labels: str | None = option(None, "A table of those that have a label, .csv: file,label.")
    n: int = option(100, "How many to label next.", minimum=1)
    out: str | None = option(None, "A new file for the list; default: print it.")


@dataclasses.dataclass(frozen=True)
class Duplicates(Options):
    """Flags of `duplicates`."""

    data: str = option("", "The images, as for pretrain.", required=True)
    test_data: str | None = option(None, "A second set: leaks between the two are listed.")
    threshold: float = option(
        0.995, "Correlation from which two images count as the same.", above=0, maximum=1
    )
    out: str | None = option(None, "A page with the pairs, .html.")


@dataclasses.dataclass(frozen=True)
class Explore(TrainedEncoder):
    """Flags of `explore`."""

    data: str | None = option(None, "The images; default: those of the run.")
    port: int = option(0, "Port of the page; default: a free one.", minimum=0, maximum=65535)


@dataclasses.dataclass(frozen=True)
class Zoo(Options):
    """Flags of `zoo`, for all of its actions."""

    name: str | None = option(None, "card, download, publish: name of the entry.")
    method: str | None = option(None, "list: only entries of this method.")
    encoder: str | None = option(None, "list: only entries of this encoder.")
    data: str | None = option(None, "list: only entries of these images. publish: their name.")
    kind: str = option("encoder", "download: which file.", choices=("encoder", "pretraining"))
    run: str | None = option(None, "publish: folder of a finished run.")
    out: str | None = option(
        None, "publish: folder of the entries, default zoo. import: a .keras file."
    )
    license: str | None = option(None, "publish: license of the weights.")
    license_url: str | None = option(None, "publish: address of its text.")
    hardware: str | None = option(None, "publish: what it was trained on.")
    origin: str | None = option(None, "publish: who made it.")
    paper_title: str | None = option(None, "publish: paper of the method.")
    paper_url: str | None = option(None, "publish: address of the paper.")
    note: list[str] = option([], "publish: a sentence for the reader; may be repeated.")
    pretraining: bool = option(False, "publish: the whole method too, with head, queue or bank.")
    upload: str | None = option(
        None, "publish: hf://owner/repository[/folder] to copy the entry to."
    )
    file: str | None = option(None, "import: the checkpoint.")
    format: str | None = option(None, "import: whose format it has.")
    image_size: int = option(
        224, "import: side in pixels that it is meant for.", minimum=8, maximum=4096
    )


@dataclasses.dataclass(frozen=True)
class Demo(Options):
    """Flags of `demo`."""

    run: str = option("runs/demo", "Folder of the run.")
    seed: int = option(0, "Seed of the weights, the order of the images, and the views.")


@dataclasses.dataclass(frozen=True)
class Command:
    """One command.

    Attributes:
        summary: for the list of commands.
        help: what it does, with examples.
        options: classes whose fields are its flags.
        actions: the words of which one follows the command; () for none.
    """

    summary: str
    help: str
    options: tuple[type[Options], ...]
    actions: tuple[str, ...] = ()


PRETRAIN = """\
Trains an encoder on images without labels, and writes a run folder.

  cl-keras pretrain --data=folder:photos --run=runs/photos --minutes=20
  cl-keras pretrain --data=folder:photos --run=runs/photos --image_size=96 --method=moco

What no flag says is chosen by looking at the images and at the machine, and is printed as a plan
before training begins. A method that is named has the settings of its authors, scaled to the batch
and to the number of images; --preset=small is for small images, few data and a CPU.

The run folder holds the configuration, the versions, metrics.csv, TensorBoard's logs,
checkpoints, a list of unreadable files, and at the end encoder.keras. The same command resumes a
stopped run from its last checkpoint, and ends with the same weights as if it had not been stopped.
SIGTERM and ctrl-C save a checkpoint first. Another configuration on an existing run is refused."""

EVALUATE = """\
Measures an encoder beside its baselines, says what that means, and writes a report.

  cl-keras evaluate --run=runs/photos --test_data=folder:labeled_photos
  cl-keras evaluate --zoo=NAME --data=folder:train --test_data=folder:test --out=measured

With labels: k-NN and a linear classifier on clean images, k-NN on perturbed ones (cropped, flipped,
brighter or darker), instance retrieval: how often a perturbed image finds its original, and the
label curve: what a classifier on 10, 20, 40, … labels reaches. Without labels: instance retrieval
alone. Beside the learned encoder stand the most frequent class, raw pixels, whitened PCA and the
encoder before training. The verdict is printed last and stands first in the report.
evaluation.json holds the figures, report.html the page; they go to the run folder, or to --out for
an encoder of the zoo or a file."""

EMBED = """\
Writes the features of images to a file, with their names.

  cl-keras embed --run=runs/photos --data=folder:photos --out=photos.npz

A .npz file holds `embedding` [N, D], `index` [N], and `name` [N] where the images have names and
`label` [N] where they have labels; a .parquet file the same as columns. Files that cannot be read
are left out and counted."""

EXPORT = """\
Writes an encoder as a SavedModel for TensorFlow Serving.

  cl-keras export --run=runs/photos --out=export/photos

The next free version below --out is taken: export/photos/1, then 2. Its signatures are
`serving_default` (images of any size) and `serve_bytes` (encoded JPEG or PNG files), both to
`embedding`; with --classify_data also `classify`, by a linear classifier on the features that is
fitted to those labeled images."""

FINETUNE = """\
Fits a classifier to labeled images, on a run, an encoder file or an entry of the zoo.

  cl-keras finetune --run=runs/photos --data=folder:labeled --out=classifiers/photos
  cl-keras finetune --zoo=NAME --data=folder:photos --labels=labels.csv --out=classifiers/photos

The encoder stays frozen unless --whole is given. A share of each class is held out: it chooses the
strength of the penalty, stops the training of all weights early, and gives the accuracy printed.
Labels come from class folders or a table (file,label). `cl-keras predict` uses the result."""

PREDICT = """\
Classifies images with what `cl-keras finetune` made.

  cl-keras predict --classifier=classifiers/photos --data=folder:new --out=new.csv

The table has a line per image: file, class, its probability, distance, unusual, and the probability
of every class. `distance` is the mean cosine distance to the nearest labeled images; `unusual` is 1
where it is beyond that of 95 % of the held-out images: do not trust the class there."""

SEARCH = """\
Finds the images most like a given one.

  cl-keras search --run=runs/photos --query=photo.jpg
  cl-keras search --zoo=NAME --data=folder:photos --index=photos.npz --query=photo.jpg

The first search encodes all images and keeps an index; the next ones read it. The search is exact:
a line per image, the cosine first."""

SELECT = """\
Says which images to label next.

  cl-keras select --run=runs/photos --n=100 --out=to_label.csv
  cl-keras select --run=runs/photos --labels=labels.csv --n=100 --out=to_label.csv

It chooses images so that none is far from a chosen or labeled one (k-center on the embeddings); the
first of the list say most. The list is a table `file,label` to be filled in, for --labels."""

DUPLICATES = """\
Finds near-duplicates in a set of images, or leaks between two.

  cl-keras duplicates --data=folder:photos --out=duplicates.html
  cl-keras duplicates --data=folder:train --test_data=folder:test --out=leaks.html

Compared are gray pictures of 32 x 32 pixels: copies in another size, compression or brightness are
found; crops and mirror images are not. The page shows the pairs."""

EXPLORE = """\
Serves a local page on which to look through up to 50,000 images.

  cl-keras explore --run=runs/photos

A map of all images; neighbors of any of them or of a file of your own; a filter by class; outliers,
near-duplicates, and what to label next; a list of chosen images to export. The page is served to
this machine alone, at an address with a token, and serves no path of the disk."""

ZOO = """\
Published weights: what there is, and how to use, publish and import some.

  cl-keras zoo list     [--method=moco_v2] [--encoder=resnet50] [--data=imagenet]
  cl-keras zoo card     --name=NAME
  cl-keras zoo download --name=NAME [--kind=pretraining]
  cl-keras zoo publish  --run=runs/photos --name=simclr_resnet18_photos --license=Apache-2.0
  cl-keras zoo import   --file=CHECKPOINT --format=torchvision --out=encoder.keras

`publish` makes a folder of weights, card, page and recipe from a finished and evaluated run.
`import` reads a checkpoint of another project into an encoder, without the library that wrote it
and without running anything in it. Environment: CL_KERAS_ZOO names more catalogs, separated by
commas; CL_KERAS_CACHE is the folder of downloads; CL_KERAS_OFFLINE=1 forbids the network."""

DEMO = """\
Shows the whole way on the bundled images: about three minutes on two CPU cores.

  cl-keras demo --run=runs/demo

Trains SimCLR without labels, measures it beside its baselines, exports the encoder, serves one
image from the export, and writes a report. Once trained, the same command only measures again."""

COMMANDS = {
    "pretrain": Command("train an encoder on images without labels", PRETRAIN, (Config, Execution)),
    "evaluate": Command(
        "measure an encoder beside baselines, with a verdict and a report",
        EVALUATE,
        (Evaluate,),
    ),
    "embed": Command("write the features of images to a file", EMBED, (Embed,)),
    "export": Command("write an encoder as a SavedModel for TensorFlow Serving", EXPORT, (Export,)),
    "finetune": Command("fit a classifier to few labels", FINETUNE, (Finetune,)),
    "predict": Command("classify images, and tell which are unusual", PREDICT, (Predict,)),
    "search": Command("find the images most like a given one", SEARCH, (Search,)),
    "select": Command("say which images to label next", SELECT, (Select,)),
    "duplicates": Command(
        "find near-duplicates, and leaks between two sets", DUPLICATES, (Duplicates,)
    ),
    "explore": Command("look through embedded images on a local page", EXPLORE, (Explore,)),
    "zoo": Command(
        "published weights: list, card, download, publish, import",
        ZOO,
        (Zoo,),
        ("list", "card", "download", "publish", "import"),
    ),
    "demo": Command("the whole way, on the bundled images, in about three minutes", DEMO, (Demo,)),
}
