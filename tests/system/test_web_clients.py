"""Clients of others against the whole archive; those that take long are in tools/clients."""

from collections.abc import Iterator

import pytest

from tools.clients.__main__ import CLIENTS, Site


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Serve an archive."""
    site = Site(tmp_path_factory.mktemp("site"))
    yield site
    site.archive.stop()


@pytest.mark.parametrize("client", ["npm", "weasis", "slicer", "caddy"])
def test_a_client_finds_and_fetches_what_it_is_there_for(site: Site, client: str):
    assert CLIENTS[client](site)
