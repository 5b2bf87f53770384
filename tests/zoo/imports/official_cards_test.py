"""Zoo entries of official checkpoints: what their cards say is consistent."""

import pathlib
import re

import pytest

from cl_keras.zoo import cards, catalog, imports
from cl_keras.zoo.imports import architectures

FOLDER = pathlib.Path(__file__).parents[3] / "zoo"
CARDS = {
    card.name: card
    for card in (entry.card for entry in catalog.read_folder(FOLDER))
    if card.file("encoder").format in imports.FORMATS
}
METHODS = {
    "torchvision": {"supervised"},
    "moco": {"moco", "moco_v2"},
    "moco_v3": {"moco_v3"},
    "pcl": {"pcl_v1", "pcl_v2"},
    "swav": {"swav", "deepcluster_v2", "sela_v2"},
    "vissl": {
        *("pirl", "instdisc", "npid_pp", "simclr", "swav", "moco_v2", "barlow_twins"),
        *("jigsaw", "rotnet", "supervised"),
    },
    "instdisc": {"instdisc"},
    "barlow_twins": {"barlow_twins"},
    "dino": {"dino"},
    "simclr": {"simclr", "simclr_v2"},
    "vicreg": {"vicreg"},
    "simsiam": {"simsiam"},
}
HOSTS = {
    "torchvision": "download.pytorch.org",
    "pcl": "storage.googleapis.com",
    "simclr": "storage.googleapis.com",
    "instdisc": "frontiers.blob.core.windows.net",
}
META = "dl.fbaipublicfiles.com"


def test_every_format_has_entries_of_all_its_methods():
    found = {}
    for card in CARDS.values():
        found.setdefault(card.file("encoder").format, set()).add(card.method)
    assert found == METHODS
    assert METHODS.keys() == imports.FORMATS.keys() - {"lightning"}  # which is of users


@pytest.mark.parametrize("name", CARDS)
def test_the_network_of_a_card_can_be_built(name):
    encoder = CARDS[name].encoder
    family = architectures.FAMILIES[encoder.name]
    width = architectures.check_width((round(64 * encoder.width),))
    assert family.layers(width)[-1].shape[-1] == encoder.features
    assert (encoder.channels, encoder.stem) == (3, "imagenet")


@pytest.mark.parametrize("name", CARDS)
def test_files_come_from_their_authors_servers(name):
    for file in CARDS[name].files:
        assert re.match(r"https://([^/]+)/", file.address)[1] == HOSTS.get(file.format, META)
        in_name = re.search(r"-([0-9a-f]{8})\.pth$", file.address)
        assert file.sha256_prefix == (in_name[1] if in_name else None)
        assert file.kind in ("encoder", cards.DATA)
    epochs = re.search(r"(\d+)ep", CARDS[name].tag or "")
    assert not epochs or CARDS[name].training.epochs == int(epochs[1])


@pytest.mark.parametrize("name", CARDS)
def test_metrics_have_a_source_and_weights_a_license(name):
    card = CARDS[name]
    assert card.metrics
    for metric in card.metrics:
        assert 0.4 < metric.value < 0.9
        assert metric.source.startswith("https://github.com/")
    assert card.license.name
    assert card.paper


MD5 = {"v1_200ep": "b251726a", "v2_200ep": "59fd9945", "v2_800ep": "a04e12f8"}
"""What MoCo's README gives."""


def test_mocos_files_are_checked_by_its_authors_hashes():
    found = [card.file("encoder") for card in CARDS.values()]
    prefixes = {f.address.split("/")[-2].removeprefix("moco_"): f.md5_prefix for f in found}
    assert {name: prefix for name, prefix in prefixes.items() if prefix} == MD5


def test_cards_state_deviations_from_the_usual_protocol():
    for card in CARDS.values():
        file = card.file("encoder")
        protocols = {metric.name: metric.protocol for metric in card.metrics}
        if file.format == "vissl":
            assert "the best of seven linear classifiers" in protocols["linear"]
        if file.format == "instdisc" and "knn" in protocols:
            assert "not by the features of this encoder" in protocols["knn"]
        if file.format == "moco":
            assert "MIT" in card.license.name and "CC-BY-NC-4.0" in card.license.name


def test_no_file_belongs_to_two_entries():
    addresses = [card.file("encoder").address for card in CARDS.values()]
    assert len(set(addresses)) == len(addresses)


def test_the_networks_have_the_features_that_their_cards_state():
    for format_, encoder, features in [
        ("torchvision", "resnet18", 512),
        ("torchvision", "resnet34", 512),
        ("simclr", "resnet50", 2048),
        ("moco", "resnet50", 2048),
    ]:
        network = imports._FORMATS[format_].network(encoder, width=1.0, image_size=224)
        assert network.output_shape == (None, features)
        named = [card for card in CARDS.values() if card.encoder.name == encoder]
        assert features in {card.encoder.features for card in named}
