"""Gives every test its own cache, no catalogs except those it names, and a server."""

import pytest

from tests.zoo.server import Server


@pytest.fixture(autouse=True)
def cache_folder(tmp_path, monkeypatch):
    folder = tmp_path / "cache"
    monkeypatch.setenv("CL_KERAS_CACHE", str(folder))
    monkeypatch.setenv("no_proxy", "*")  # the server is on this machine
    for name in ("CL_KERAS_ZOO", "CL_KERAS_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    return folder / "zoo"


@pytest.fixture
def server():
    server = Server()
    yield server
    server.close()
