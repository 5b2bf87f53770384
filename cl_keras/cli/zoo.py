"""Lists, downloads, publishes and imports pretrained weights."""

from cl_keras import zoo
from cl_keras.cli import outputs
from cl_keras.cli.commands import Zoo
from cl_keras.files import replacing
from cl_keras.zoo.cards import page

NEEDED = {
    "list": (),
    "card": ("name",),
    "download": ("name",),
    "publish": ("run", "name", "license"),
    "import": ("file", "format", "out"),
}


def main(flags: Zoo, action: str) -> None:
    """Runs one of the actions."""
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
    print(f"The entry is in {folder}. `python tools/make_catalog.py` adds it to the catalog.")


def _import(flags):
    path = outputs.checked(flags.out, ".keras")
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
