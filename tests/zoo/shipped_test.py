"""The entries shipped with this repository, and their catalog."""

import pathlib

import pytest

from cl_keras import zoo
from cl_keras.zoo import cards, catalog, imports
from cl_keras.zoo.cards import page
from cl_keras.zoo.publish import golden
from cl_keras.zoo.weights import variables
from tools import make_catalog

FOLDER = pathlib.Path(__file__).parents[2] / "zoo"
ENTRIES = {entry.card.name: entry for entry in catalog.read_folder(FOLDER)}
OWN = [
    entry.card.name
    for entry in ENTRIES.values()
    if (FOLDER / entry.card.name / entry.card.file("encoder").address).is_file()
]
"""Those whose weights lie here."""


def test_the_catalog_is_fresh():
    entries = catalog.read_folder(FOLDER)
    expected = make_catalog.catalog_text(entries, make_catalog.base_of(catalog.OWN))
    assert catalog.OWN.read_text("utf-8") == expected, "run python tools/make_catalog.py"


@pytest.mark.parametrize("name", ENTRIES)
def test_the_page_is_fresh(name):
    written = (FOLDER / name / "README.md").read_text("utf-8")
    assert written == page.markdown(ENTRIES[name].card), "run python tools/make_catalog.py"


def test_the_overview_is_fresh():
    expected = make_catalog.overview([entry.card for entry in ENTRIES.values()])
    assert (FOLDER / "README.md").read_text("utf-8") == expected, "run tools/make_catalog.py"


@pytest.mark.parametrize("name", ENTRIES)
def test_an_entry_can_be_found_and_its_format_read(name):
    card = zoo.card(name)
    assert card == ENTRIES[name].card
    for file in card.files:
        assert file.format in (cards.OWN_FORMAT, *imports.FORMATS)


@pytest.mark.parametrize("name", OWN)
def test_golden_features_are_reproduced(name):
    entry = ENTRIES[name]
    encoder = zoo.load(name)
    with entry.open(entry.card.golden) as (stream, _):
        assert golden.gap(encoder, stream, entry.card) <= golden.TOLERANCE


@pytest.mark.parametrize(
    "name", [n for n in OWN if any(f.kind == "pretraining" for f in ENTRIES[n].card.files)]
)
def test_the_whole_method_holds_the_encoder(name):
    model, encoder = zoo.load(name, kind="pretraining"), zoo.load(name)
    received = variables.values(model.encoder)
    for key, value in variables.values(encoder).items():
        assert (received[key] == value).all(), key


def test_published_weights_are_tested():
    published = [
        name
        for name, entry in ENTRIES.items()
        if entry.card.file("encoder").format == cards.OWN_FORMAT
    ]
    assert sorted(OWN) == sorted(published)
    assert all(ENTRIES[name].card.golden for name in published)


def test_a_handwritten_page_is_kept(tmp_path):
    path = tmp_path / "README.md"
    path.write_text("Our own words.\n")
    make_catalog.main([f"--zoo={tmp_path}", f"--out={tmp_path / 'catalog.json'}"])
    assert path.read_text() == "Our own words.\n"


def test_the_catalog_can_be_made_for_another_folder(tmp_path):
    out = tmp_path / "catalog.json"
    (tmp_path / "zoo").mkdir()
    arguments = [f"--zoo={tmp_path / 'zoo'}", f"--out={out}"]
    make_catalog.main([*arguments, "--base=https://example.org/zoo"])
    make_catalog.main(arguments)  # keeps the address
    content = catalog.parse(out.read_bytes(), "out")
    assert content.base == "https://example.org/zoo" and content.entries == ()
    with pytest.raises(ValueError, match="not encrypted"):
        make_catalog.main([*arguments, "--base=http://example.org"])
    assert catalog.parse(out.read_bytes(), "out") == content
