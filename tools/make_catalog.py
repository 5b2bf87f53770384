"""Makes the catalog of a folder of entries, the page of each entry, and the overview.

    python tools/make_catalog.py                        the one that cl_keras ships
    python tools/make_catalog.py --zoo=FOLDER --out=FILE [--base=https://…]   one of your own

It reads FOLDER/<name>/card.json, and writes FILE, beside each card its page, README.md, and the
page of all, FOLDER/README.md. `--base` is the address below which the folders of the entries lie,
for those who have the catalog alone; without it the one that FILE names already is kept.
"""

import argparse
import dataclasses
import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from cl_keras.files import write_atomically  # noqa: E402
from cl_keras.zoo import cards, catalog  # noqa: E402
from cl_keras.zoo.cards import page  # noqa: E402


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--zoo", type=Path, default=ROOT / "zoo", help="folder of the entries")
    parser.add_argument("--out", type=Path, default=catalog.OWN, help="the catalog's file")
    parser.add_argument("--base", help="address below which the folders of the entries lie")
    options = parser.parse_args(arguments)
    entries = catalog.read_folder(options.zoo)
    write_atomically(options.out, catalog_text(entries, options.base or base_of(options.out)))
    for entry in entries:
        write_atomically(options.zoo / entry.card.name / "README.md", page.markdown(entry.card))
    write_overview(options.zoo / "README.md", [entry.card for entry in entries])
    print(f"{options.out}: {len(entries)} entries.")


def write_overview(path, found):
    """Writes the page of all cards, unless a page that somebody wrote has its place."""
    if path.exists() and not path.read_text("utf-8").endswith(page.MADE + "\n"):
        print(f"{path} was not made by this tool: left as it is.")
        return
    write_atomically(path, page.overview(found))


def base_of(path):
    """The address of the files that a catalog names, or None."""
    return catalog.parse(path.read_bytes(), str(path)).base if path.exists() else None


def catalog_text(entries, base=None):
    """The text of the catalog of some entries, checked as it will be when it is read."""
    found = [dataclasses.asdict(entry.card) for entry in entries]
    content = {"schema": cards.SCHEMA, "base": base, "entries": found}
    text = json.dumps(content, indent=1) + "\n"
    catalog.parse(text, "the new catalog")
    return text


if __name__ == "__main__":
    main()
