"""Makes the catalog of a folder of entries, the page of each entry, and the overview.

    python tools/make_catalog.py                        the catalog that cl_keras ships
    python tools/make_catalog.py --zoo=FOLDER --out=FILE [--base=https://…]   your own

It reads FOLDER/<name>/card.json, and writes FILE, the page of each entry, FOLDER/<name>/README.md,
and the overview, FOLDER/README.md. `--base` is the address of the folder of entries, for those who
have only the catalog; without it, the base that FILE already names is kept.
"""

import argparse
import dataclasses
import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from cl_keras.evaluation import METRICS  # noqa: E402
from cl_keras.files import write_atomically  # noqa: E402
from cl_keras.zoo import cards, catalog  # noqa: E402
from cl_keras.zoo.cards import page  # noqa: E402

GENERATED = "This page is generated from the cards."
"""Last line of the overview, which distinguishes it from a handwritten page."""


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--zoo", type=Path, default=ROOT / "zoo", help="folder of the entries")
    parser.add_argument("--out", type=Path, default=catalog.OWN, help="file of the catalog")
    parser.add_argument("--base", help="address of the folder of the entries")
    options = parser.parse_args(arguments)
    entries = catalog.read_folder(options.zoo)
    write_atomically(options.out, catalog_text(entries, options.base or base_of(options.out)))
    for entry in entries:
        write_atomically(options.zoo / entry.card.name / "README.md", page.markdown(entry.card))
    write_overview(options.zoo / "README.md", [entry.card for entry in entries])
    print(f"{options.out}: {len(entries)} entries.")


def write_overview(path, found):
    """Writes the overview, unless there is a page that was not made by this tool."""
    if path.exists() and not path.read_text("utf-8").endswith(GENERATED + "\n"):
        print(f"{path} was not made by this tool: left as it is.")
        return
    write_atomically(path, overview(found))


def overview(found):
    """The overview of all entries of a folder, with their metrics and licenses.

    Args:
        found: `cards.Card`s.
    """
    own = [card for card in found if any(metric.source is None for metric in card.metrics)]
    parts = ["# The zoo", "Each name links to a page with the protocol of each metric."]
    for data in sorted({card.data for card in own}):
        here = [card for card in own if card.data == data]
        parts += [f"## Evaluated with `cl-keras evaluate`: {page.text(data)}", _evaluated(here)]
    if others := [card for card in found if card not in own]:
        parts += ["## Published by others, with their own metrics", _published(others)]
    return "\n\n".join([*parts, GENERATED]) + "\n"


def _evaluated(found):
    rows = []
    for card in found:
        values = {metric.name: f"{100 * metric.value:.1f}" for metric in card.metrics}
        epochs = "not known" if card.training.epochs is None else card.training.epochs
        metrics = (values.get(name, "") for name in METRICS)
        rows.append([_link(card), epochs, *metrics, page.text(card.license.name)])
    return page.table(["entry", "epochs", *METRICS.values(), "license"], rows)


def _published(found):
    return page.table(
        ["entry", "data", "metrics", "license"],
        [
            (
                _link(card),
                page.text(card.data),
                ", ".join(f"{page.text(m.name)} {100 * m.value:.1f}" for m in card.metrics)
                or "none published",
                page.linked(card.license.name, card.license.url),
            )
            for card in found
        ],
    )


def _link(card):
    """The name, with a link to the page of the entry."""
    return f"[{page.text(card.name)}]({card.name}/README.md)"


def base_of(path):
    """The base address in a catalog, or None."""
    return catalog.parse(path.read_bytes(), str(path)).base if path.exists() else None


def catalog_text(entries, base=None):
    """The text of a catalog of the entries, validated as when it is read."""
    found = [dataclasses.asdict(entry.card) for entry in entries]
    content = {"schema": cards.SCHEMA, "base": base, "entries": found}
    text = json.dumps(content, indent=1) + "\n"
    catalog.parse(text, "the new catalog")
    return text


if __name__ == "__main__":
    main()
