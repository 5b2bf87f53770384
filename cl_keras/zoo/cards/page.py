"""The page of an entry in Markdown, generated from its card."""

import re
from collections.abc import Iterable, Sequence

from cl_keras.zoo import cards

_SPECIAL = re.compile(r"([\\`*_\[\]|<>#&~!])")


def markdown(card: cards.Card) -> str:
    """The page of an entry. The content of the card is shown as text, never as markup."""
    parts = [
        f"# {card.name}",
        _usage(card),
        table(["", ""], _facts(card)),
        "## Metrics",
        table(["metric", "value", "protocol", "source"], _metrics(card))
        if card.metrics
        else "None.",
        "## Files",
        table(["kind", "format", "bytes", "hash", "address"], _files(card)),
        *(["## Notes", *map(text, card.notes)] if card.notes else []),
        "This page is generated from `card.json`.",
    ]
    return "\n\n".join(parts) + "\n"


def _usage(card):
    lines = ["```python", "import cl_keras as cl", "", f'encoder = cl.zoo.load("{card.name}")']
    if any(file.kind == "pretraining" for file in card.files):
        lines.append(f'model = cl.zoo.load("{card.name}", kind="pretraining")')
    return "\n".join([*lines, "```"])


def _facts(card):
    encoder, training = card.encoder, card.training
    size = f"{encoder.image_size}×{encoder.image_size}, {encoder.channels} channel"
    facts = {
        "method": card.method,
        "encoder": f"{encoder.name}, {encoder.features} features, for images of {size}"
        + "s" * (encoder.channels > 1)
        + f", {encoder.norm} normalization" * (encoder.norm != "batch"),
        "data": card.data,
        "epochs": training.epochs,
        "seeds": ", ".join(map(str, training.seeds)) or None,
        "hardware": training.hardware,
        "recipe": training.recipe,
        "origin": card.origin,
    }
    rows = [(name, "not known" if fact is None else text(fact)) for name, fact in facts.items()]
    return [
        *rows,
        ("license", linked(card.license.name, card.license.url)),
        ("paper", linked(card.paper.title, card.paper.url) if card.paper else "not known"),
    ]


def linked(words: str, url: str | None) -> str:
    """Words, with their address if there is one."""
    return text(words) + (f", <{url}>" if url else "")


def _metrics(card):
    for metric in card.metrics:
        source = "cl-keras evaluate" if metric.source is None else metric.source
        yield text(metric.name), f"{metric.value:.4g}", text(metric.protocol), text(source)


def _files(card):
    for file in card.all_files:
        form = "own" if file.format == cards.OWN_FORMAT else file.format
        size = "not known" if file.size is None else f"{file.size:,}"
        yield file.kind, form, size, _hash(file), text(file.address)


def _hash(file):
    """The hash that a download is checked against."""
    if file.sha256:
        return f"SHA-256 {file.sha256}"
    for name, prefix in (("SHA-256", file.sha256_prefix), ("MD5", file.md5_prefix)):
        if prefix:
            return f"{name} begins with {prefix}; the rest is trusted on first use"
    return "none published: trusted on first use"


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


def text(value: object) -> str:
    """A value as text that Markdown does not interpret."""
    return _SPECIAL.sub(r"\\\1", str(value))
