"""Published weights: what there is, and how to use, publish and import some.

  cl-keras zoo list     [--method=moco_v2] [--encoder=resnet50] [--data=imagenet]
  cl-keras zoo card     --name=NAME
  cl-keras zoo download --name=NAME [--kind=pretraining]
  cl-keras zoo publish  --run=runs/photos --name=simclr_resnet18_photos --license=Apache-2.0
  cl-keras zoo import   --file=CHECKPOINT --format=torchvision --out=encoder.keras

`publish` makes a folder of weights, card, page and recipe from a finished and evaluated run.
`import` reads a checkpoint of another project into an encoder, without the library that wrote it
and without running anything in it. Environment: CL_KERAS_ZOO names more catalogues, separated by
commas; CL_KERAS_CACHE is the folder of downloads; CL_KERAS_OFFLINE=1 forbids the network.
"""

import pathlib

from absl import flags as absl_flags

from cl_keras import zoo
from cl_keras.files import replacing
from cl_keras.zoo import imports
from cl_keras.zoo.cards import page

ACTIONS = ("list", "card", "download", "publish", "import")

NEEDED = {
    "list": (),
    "card": ("name",),
    "download": ("name",),
    "publish": ("run", "name", "license"),
    "import": ("file", "format", "out"),
}


def define_flags(flags):
    """Declares the flags of all actions."""
    own = {"flag_values": flags}
    absl_flags.DEFINE_string("name", None, "card, download, publish: name of the entry.", **own)
    absl_flags.DEFINE_string("method", None, "list: only entries of this method.", **own)
    absl_flags.DEFINE_string("encoder", None, "list: only entries of this encoder.", **own)
    absl_flags.DEFINE_string(
        "data", None, "list: only entries of these images. publish: their name.", **own
    )
    absl_flags.DEFINE_enum(
        "kind", "encoder", ["encoder", "pretraining"], "download: which file.", **own
    )
    absl_flags.DEFINE_string("run", None, "publish: folder of a finished run.", **own)
    absl_flags.DEFINE_string(
        "out", None, "publish: folder of the entries, default zoo. import: a .keras file.", **own
    )
    absl_flags.DEFINE_string("license", None, "publish: license of the weights.", **own)
    absl_flags.DEFINE_string("license_url", None, "publish: where its text stands.", **own)
    absl_flags.DEFINE_string("hardware", None, "publish: what it was trained on.", **own)
    absl_flags.DEFINE_string("origin", None, "publish: who made it.", **own)
    absl_flags.DEFINE_string("paper_title", None, "publish: paper of the method.", **own)
    absl_flags.DEFINE_string("paper_url", None, "publish: address of the paper.", **own)
    absl_flags.DEFINE_multi_string("note", [], "publish: a sentence for the reader.", **own)
    absl_flags.DEFINE_bool(
        "pretraining", False, "publish: the whole method too, with head, queue or bank.", **own
    )
    absl_flags.DEFINE_string(
        "upload", None, "publish: hf://owner/repository[/folder] to copy the entry to.", **own
    )
    absl_flags.DEFINE_string("file", None, "import: the checkpoint.", **own)
    absl_flags.DEFINE_enum("format", None, list(imports.FORMATS), "import: whose it is.", **own)
    absl_flags.DEFINE_integer(
        "image_size", 224, "import: side in pixels that it is meant for.", lower_bound=8, **own
    )


def main(flags, action):
    """Does one of `ACTIONS`."""
    missing = [f"--{name}" for name in NEEDED[action] if getattr(flags, name) is None]
    if missing:
        raise ValueError(f"`cl-keras zoo {action}` needs {', '.join(missing)}.")
    _MAINS[action](flags)


def _list(flags):
    for name in zoo.list(method=flags.method, encoder=flags.encoder, data=flags.data):
        card = zoo.card(name)
        first = f"  {card.metrics[0].name} {card.metrics[0].value:.4g}" if card.metrics else ""
        print(f"{name}  [{card.license.name}]{first}")


def _card(flags):
    print(page.markdown(zoo.card(flags.name)), end="")


def _download(flags):
    print(zoo.download(flags.name, kind=flags.kind))


def _publish(flags):
    if (flags.paper_title is None) != (flags.paper_url is None):
        raise ValueError("Give --paper_title and --paper_url together.")
    paper = zoo.Paper(flags.paper_title, flags.paper_url) if flags.paper_title else None
    folder = zoo.publish(
        flags.run,
        flags.name,
        license=zoo.License(flags.license, flags.license_url),
        out=flags.out or "zoo",
        data=flags.data,
        hardware=flags.hardware,
        paper=paper,
        origin=flags.origin,
        notes=flags.note,
        pretraining=flags.pretraining,
        upload=flags.upload,
    )
    print(f"The entry is in {folder}. `python tools/make_catalogue.py` puts it into the catalogue.")


def _import(flags):
    path = pathlib.Path(flags.out)
    if path.suffix != ".keras":
        raise ValueError(f"--out must end in .keras; received {path}.")
    if path.exists():
        raise FileExistsError(f"{path} exists and is left as it is. Choose another name.")
    encoder = zoo.import_checkpoint(flags.file, flags.format, image_size=flags.image_size)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        encoder.save(temporary)
    print(f"The encoder, {encoder.name} with {encoder.output_shape[-1]} features, is in {path}.")


_MAINS = {
    "list": _list,
    "card": _card,
    "download": _download,
    "publish": _publish,
    "import": _import,
}
