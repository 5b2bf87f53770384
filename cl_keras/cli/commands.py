"""The commands with their help and flags. Nothing here imports TensorFlow.

The module with the name of the command does the work: its `main` takes one object for each option
class, in the order of `Command.options`, and the action if the command has several.
"""

import dataclasses

from cl_keras.recipes.config import Config, Execution
from cl_keras.recipes.options import Options, option


@dataclasses.dataclass(frozen=True)
class TrainedEncoder(Options):
    """The encoder that a command uses."""

    run: str | None = option(None, "Folder of a finished run.")
    encoder: str | None = option(None, "Instead of --run: a .keras file of an encoder or model.")
    zoo: str | None = option(None, "Instead of --run: an entry of the zoo; see `cl-keras zoo`.")


@dataclasses.dataclass(frozen=True)
class Evaluate(TrainedEncoder):
    """Flags of `evaluate`."""

    data: str | None = option(None, "Training images; default: those of the run.")
    train_data: str | None = option(None, "The same as --data.")
    test_data: str | None = option(None, "Images to classify; default: --test_data of the run.")
    out: str | None = option(
        None, "With --zoo or --encoder: folder for evaluation.json and report.html."
    )


@dataclasses.dataclass(frozen=True)
class Embed(TrainedEncoder):
    """Flags of `embed`."""

    data: str = option("", "The images, as for pretrain.", required=True)
    out: str = option("", "A new file, .npz or .parquet.", required=True)
    batch_size: int = option(256, "Images per batch.", minimum=1)
    max_bad_share: float = option(
        0.05, "Share of unreadable files above which to stop.", minimum=0, maximum=1
    )


@dataclasses.dataclass(frozen=True)
class Export(TrainedEncoder):
    """Flags of `export`."""

    out: str = option("", "Folder for the versions.", required=True)
    classify_data: str | None = option(None, "Labeled images to fit a classifier to.")


@dataclasses.dataclass(frozen=True)
class Finetune(TrainedEncoder):
    """Flags of `finetune`."""

    data: str = option("", "Labeled images: class folders, or see --labels.", required=True)
    labels: str | None = option(None, "A table of labels, .csv, with the columns file,label.")
    out: str = option("", "Folder for the classifier.", required=True)
    whole: bool = option(False, "Train all weights; default: freeze the encoder.")
    held_out: float = option(0.2, "Share of each class to hold out.", minimum=0.0, maximum=0.5)
    epochs: int = option(30, "With --whole: maximum passes over the images.", minimum=1)
    patience: int = option(
        5, "With --whole: epochs without progress after which to stop.", minimum=1
    )
    learning_rate: float = option(3e-4, "With --whole: peak of the learning rate.", above=0)
    batch_size: int = option(32, "With --whole: images per step.", minimum=1)
    flip: bool = option(False, "With --whole: mirror images at random.")
    seed: int = option(0, "Seed of the split and the order.")


@dataclasses.dataclass(frozen=True)
class Predict(Options):
    """Flags of `predict`."""

    classifier: str = option("", "Folder written by finetune.", required=True)
    data: str = option("", "The images, as for pretrain.", required=True)
    out: str = option("", "A new file, .csv.", required=True)


@dataclasses.dataclass(frozen=True)
class Search(TrainedEncoder):
    """Flags of `search`."""

    query: str = option("", "An image file.", required=True)
    data: str | None = option(None, "Images to search; default: those of the run.")
    k: int = option(10, "Number of images to show.", minimum=1)
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
    labels: str | None = option(None, "A table of labels so far, .csv: file,label.")
    n: int = option(100, "Number of images to label next.", minimum=1)
    out: str | None = option(None, "A new file for the list; default: print it.")


@dataclasses.dataclass(frozen=True)
class Duplicates(Options):
    """Flags of `duplicates`."""

    data: str = option("", "The images, as for pretrain.", required=True)
    test_data: str | None = option(None, "A second set, to list leaks between the two.")
    threshold: float = option(
        0.995, "Correlation from which two images count as the same.", above=0, maximum=1
    )
    out: str | None = option(None, "A page for the pairs, .html.")


@dataclasses.dataclass(frozen=True)
class Explore(TrainedEncoder):
    """Flags of `explore`."""

    data: str | None = option(None, "The images; default: those of the run.")
    port: int = option(0, "Port of the page; default: a free one.", minimum=0, maximum=65535)


@dataclasses.dataclass(frozen=True)
class Zoo(Options):
    """Flags of `zoo`, for all its actions."""

    name: str | None = option(None, "card, download, publish: name of the entry.")
    method: str | None = option(None, "list: only entries of this method.")
    encoder: str | None = option(None, "list: only entries of this encoder.")
    data: str | None = option(
        None, "list: only entries of this data set. publish: name of the data set."
    )
    kind: str = option("encoder", "download: which file.", choices=("encoder", "pretraining"))
    run: str | None = option(None, "publish: folder of a finished run.")
    out: str | None = option(
        None, "publish: folder for the entries, default zoo. import: a new .keras file."
    )
    license: str | None = option(None, "publish: license of the weights.")
    license_url: str | None = option(None, "publish: URL of the license text.")
    hardware: str | None = option(None, "publish: hardware it was trained on.")
    origin: str | None = option(None, "publish: who trained it.")
    paper_title: str | None = option(None, "publish: title of the method's paper.")
    paper_url: str | None = option(None, "publish: URL of the paper.")
    note: list[str] = option([], "publish: a note for the reader; may be repeated.")
    pretraining: bool = option(
        False, "publish: include the whole method, with its head, queue or bank."
    )
    upload: str | None = option(
        None, "publish: hf://owner/repository[/folder] to copy the entry to."
    )
    file: str | None = option(None, "import: the checkpoint file.")
    format: str | None = option(None, "import: format of the checkpoint.")
    image_size: int = option(
        224, "import: side in pixels of the images it is for.", minimum=8, maximum=4096
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
        summary: one line for the list of commands.
        help: what it does, with examples.
        options: classes whose fields are its flags.
        actions: words, one of which must follow the command; default: (), none.
    """

    summary: str
    help: str
    options: tuple[type[Options], ...]
    actions: tuple[str, ...] = ()


PRETRAIN = """\
Trains an encoder on images without labels, and writes a run folder.

  cl-keras pretrain --data=folder:photos --run=runs/photos --minutes=20
  cl-keras pretrain --data=folder:photos --run=runs/photos --image_size=96 --method=moco

Everything not given by a flag is chosen from the images and the machine, and printed as a plan
before training begins. If you name a method, it gets its authors' settings, scaled to the batch and
the number of images; --preset=small is for small images, little data and a CPU.

The run folder holds the configuration, the versions, metrics.csv, TensorBoard logs, checkpoints, a
list of unreadable files, and finally encoder.keras. The same command resumes a stopped run from its
last checkpoint, and ends with the same weights as if it had not been stopped. SIGTERM and ctrl-C
save a checkpoint first. A different configuration for an existing run is refused."""

EVALUATE = """\
Evaluates an encoder against baselines, gives a verdict, and writes a report.

  cl-keras evaluate --run=runs/photos --test_data=folder:labeled_photos
  cl-keras evaluate --zoo=NAME --data=folder:train --test_data=folder:test --out=evaluation

With labels, it computes k-NN and linear accuracy on clean images, k-NN accuracy on perturbed images
(cropped, flipped, brighter or darker), instance retrieval (how often a perturbed image finds its
original), and the label curve: the accuracy of a classifier with 10, 20, 40, … labels. Without
labels, it computes only instance retrieval. The learned encoder is compared with the most frequent
class, raw pixels, whitened PCA, and the encoder before training. The verdict is printed last and
comes first in the report. The metrics are in evaluation.json and the report in report.html, in the
run folder, or in --out for an encoder of the zoo or from a file."""

EMBED = """\
Writes the features of images to a file, with their names.

  cl-keras embed --run=runs/photos --data=folder:photos --out=photos.npz

A .npz file holds `embedding` [N, D], `index` [N], `name` [N] if the images have names, and `label`
[N] if they have labels; a .parquet file has the same as columns. Files that cannot be read are left
out and counted."""

EXPORT = """\
Writes an encoder as a SavedModel for TensorFlow Serving.

  cl-keras export --run=runs/photos --out=export/photos

It uses the next free version below --out: export/photos/1, then 2. The signatures
`serving_default` (images of any size) and `serve_bytes` (encoded JPEG or PNG files) return
`embedding`; with --classify_data, `classify` returns the classes of a linear classifier on the
features, fitted to those labeled images."""

FINETUNE = """\
Fits a classifier to labeled images, on the encoder of a run, a file or the zoo.

  cl-keras finetune --run=runs/photos --data=folder:labeled --out=classifiers/photos
  cl-keras finetune --zoo=NAME --data=folder:photos --labels=labels.csv --out=classifiers/photos

The encoder stays frozen unless --whole is given. A share of each class is held out, to choose the
regularization, to stop the training of all weights early, and to estimate the accuracy. Labels come
from class folders or a table (file,label). `cl-keras predict` uses the result."""

PREDICT = """\
Classifies images with a classifier that `cl-keras finetune` wrote.

  cl-keras predict --classifier=classifiers/photos --data=folder:new --out=new.csv

The table has one line per image: file, class, probability, distance, unusual, and the probability
of every class. `distance` is the mean cosine distance to the nearest labeled images; `unusual` is 1
if it exceeds that of 95 % of the held-out images: do not trust the class of such an image."""

SEARCH = """\
Finds the images most similar to a given one.

  cl-keras search --run=runs/photos --query=photo.jpg
  cl-keras search --zoo=NAME --data=folder:photos --index=photos.npz --query=photo.jpg

The first search encodes all images and saves an index, which later ones read. The search is exact.
It prints one line per image, beginning with the cosine similarity."""

SELECT = """\
Chooses images to label next.

  cl-keras select --run=runs/photos --n=100 --out=to_label.csv
  cl-keras select --run=runs/photos --labels=labels.csv --n=100 --out=to_label.csv

It chooses images so that no image is far from a chosen or labeled one (k-center on the embeddings),
the most informative ones first. Fill in the labels in the resulting table `file,label`, and pass it
as --labels."""

DUPLICATES = """\
Finds near-duplicates in a set of images, or leaks between two.

  cl-keras duplicates --data=folder:photos --out=duplicates.html
  cl-keras duplicates --data=folder:train --test_data=folder:test --out=leaks.html

It compares gray versions of 32 x 32 pixels, and so finds copies in another size, compression or
brightness, but not crops and mirror images. The page shows the pairs."""

EXPLORE = """\
Serves a local page to browse up to 50,000 images.

  cl-keras explore --run=runs/photos

It has a map of all images; the neighbors of any image or of your own file; a filter by class;
outliers, near-duplicates, and images to label next; and a list of chosen images to export. The page
is only served to this machine, at an address with a token, and gives no access to other files."""

ZOO = """\
Lists, downloads, publishes and imports pretrained weights.

  cl-keras zoo list     [--method=moco_v2] [--encoder=resnet50] [--data=imagenet]
  cl-keras zoo card     --name=NAME
  cl-keras zoo download --name=NAME [--kind=pretraining]
  cl-keras zoo publish  --run=runs/photos --name=simclr_resnet18_photos --license=Apache-2.0
  cl-keras zoo import   --file=CHECKPOINT --format=torchvision --out=encoder.keras

`publish` makes a folder with weights, card, page and recipe from a finished and evaluated run.
`import` reads a checkpoint of another project into an encoder, without the library that wrote it
and without running any code in it. Environment: CL_KERAS_ZOO names more catalogs, separated by
commas; CL_KERAS_CACHE is the folder for downloads; CL_KERAS_OFFLINE=1 forbids network access."""

DEMO = """\
Shows the whole workflow on the bundled images, in about three minutes on two CPU cores.

  cl-keras demo --run=runs/demo

Trains SimCLR without labels, evaluates it against baselines, exports the encoder, serves one image
from the export, and writes a report. Once trained, the same command only evaluates again."""

COMMANDS = {
    "pretrain": Command("train an encoder on images without labels", PRETRAIN, (Config, Execution)),
    "evaluate": Command(
        "evaluate an encoder against baselines, with a verdict and a report",
        EVALUATE,
        (Evaluate,),
    ),
    "embed": Command("write the features of images to a file", EMBED, (Embed,)),
    "export": Command("write an encoder as a SavedModel for TensorFlow Serving", EXPORT, (Export,)),
    "finetune": Command("fit a classifier to few labels", FINETUNE, (Finetune,)),
    "predict": Command("classify images, and flag unusual ones", PREDICT, (Predict,)),
    "search": Command("find the images most similar to a given one", SEARCH, (Search,)),
    "select": Command("choose images to label next", SELECT, (Select,)),
    "duplicates": Command(
        "find near-duplicates, and leaks between two sets", DUPLICATES, (Duplicates,)
    ),
    "explore": Command("browse embedded images on a local page", EXPLORE, (Explore,)),
    "zoo": Command(
        "pretrained weights: list, card, download, publish, import",
        ZOO,
        (Zoo,),
        ("list", "card", "download", "publish", "import"),
    ),
    "demo": Command("the whole workflow on the bundled images, in three minutes", DEMO, (Demo,)),
}
