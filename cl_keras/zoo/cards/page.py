"""Markdown pages generated from cards: one for each entry, and an overview."""

import re

from cl_keras.evaluation import METRICS
from cl_keras.zoo import cards

GENERATED = "This page is generated from the cards."
"""Last line of the overview, which distinguishes it from a handwritten page."""

_SPECIAL = re.compile(r"([\\`*_\[\]|<>#&~!])")


def markdown(card):
    """The page of a `cards.Card`. The content of the card is shown as text, never as markup."""
    parts = [
        f"# {card.name}",
        _usage(card),
        _table(["", ""], _facts(card)),
        "## Metrics",
        _table(["metric", "value", "protocol", "source"], _metrics(card))
        if card.metrics
        else "None.",
        "## Files",
        _table(["kind", "format", "bytes", "hash", "address"], _files(card)),
        *(["## Notes", *map(_text, card.notes)] if card.notes else []),
        "This page is generated from `card.json`.",
    ]
    return "\n\n".join(parts) + "\n"


def overview(found):
    """The overview of all entries of a folder, with their metrics and licenses.

    Args:
        found: `cards.Card`s.
    """
    own = [card for card in found if any(metric.source is None for metric in card.metrics)]
    parts = ["# The zoo", "Each name links to a page with the protocol of each metric."]
    for data in sorted({card.data for card in own}):
        here = [card for card in own if card.data == data]
        parts += [f"## Evaluated with `cl-keras evaluate`: {_text(data)}", _evaluated(here)]
    if others := [card for card in found if card not in own]:
        parts += ["## Published by others, with their own metrics", _published(others)]
    return "\n\n".join([*parts, GENERATED]) + "\n"


def _evaluated(found):
    rows = []
    for card in found:
        values = {metric.name: f"{100 * metric.value:.1f}" for metric in card.metrics}
        epochs = "not known" if card.training.epochs is None else card.training.epochs
        metrics = (values.get(name, "") for name in METRICS)
        rows.append([_link(card), epochs, *metrics, _text(card.license.name)])
    return _table(["entry", "epochs", *METRICS.values(), "license"], rows)


def _published(found):
    return _table(
        ["entry", "data", "metrics", "license"],
        [
            (
                _link(card),
                _text(card.data),
                ", ".join(f"{_text(m.name)} {100 * m.value:.1f}" for m in card.metrics)
                or "none published",
                _linked(card.license.name, card.license.url),
            )
            for card in found
        ],
    )


def _link(card):
    """The name, with a link to the page of the entry."""
    return f"[{_text(card.name)}]({card.name}/README.md)"


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
    rows = [(name, "not known" if fact is None else _text(fact)) for name, fact in facts.items()]
    return [
        *rows,
        ("license", _linked(card.license.name, card.license.url)),
        ("paper", _linked(card.paper.title, card.paper.url) if card.paper else "not known"),
    ]


def _linked(words, url):
    return _text(words) + (f", <{url}>" if url else "")


def _metrics(card):
    return [
        (
            _text(metric.name),
            f"{metric.value:.4g}",
            _text(metric.protocol),
            _text("cl-keras evaluate" if metric.source is None else metric.source),
        )
        for metric in card.metrics
    ]


def _files(card):
    return [
        (
            file.kind,
            "own" if file.format == cards.OWN_FORMAT else file.format,
            "not known" if file.size is None else f"{file.size:,}",
            _hash(file),
            _text(file.address),
        )
        for file in (*card.files, *([card.golden] if card.golden else []))
    ]


def _hash(file):
    """The hash that a download is checked against."""
    if file.sha256:
        return f"SHA-256 {file.sha256}"
    for name, prefix in (("SHA-256", file.sha256_prefix), ("MD5", file.md5_prefix)):
        if prefix:
            return f"{name} begins with {prefix}; the rest is trusted on first use"
    return "none published: trusted on first use"


def _table(head, rows):
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


def _text(value):
    return _SPECIAL.sub(r"\\\1", str(value))
