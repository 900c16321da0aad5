"""Fixtures that every test may use."""

import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from minipacs.archive.archive import Archive
from minipacs.archive.ingest import StoragePolicy
from tests.support import memory, reactor
from tests.support.server import Server

reactor.mend()
memory.use_for_folders(os.environ)
settings.register_profile("loaded", deadline=None)  # a machine may be busy: no test is about how long it takes
settings.load_profile("loaded")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that wait for daemons, so that none of them is the last to end."""
    items.sort(key=lambda item: "system" not in item.path.parts)


@pytest.fixture(autouse=True)
def level_of_the_log() -> Iterator[None]:
    """Leave the level of our log as it was: a command that runs in this process sets its own."""
    ours = logging.getLogger("minipacs")
    level = ours.level
    yield
    ours.setLevel(level)


@pytest.fixture
def start_server(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Start archives with configurations of the test's own; they are stopped at its end."""
    running: list[Server] = []

    def start(**arguments: object) -> Server:
        server = Server(tmp_path / f"server{len(running)}", **arguments)  # type: ignore[arg-type]
        running.append(server)
        return server

    yield start
    for server in running:
        server.end()


@pytest.fixture(scope="module")
def shared_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Start one archive with the defaults for all tests of a module that do not mind each other's objects."""
    server = Server(tmp_path_factory.mktemp("archive"))
    yield server
    server.end()


@pytest.fixture
def server(start_server: Callable[..., Server]) -> Server:
    """Start an archive with the defaults, on free ports and in a folder of its own."""
    return start_server()


@pytest.fixture
def open_archive(tmp_path: Path) -> Iterator[Callable[..., Archive]]:
    """Open archives without a daemon, all in one folder by default; they are closed at the test's end."""
    opened: list[Archive] = []

    def open_(
        path: Path = tmp_path / "archive", sync: str = "always", *, recovers: bool = False, **policy: object
    ) -> Archive:
        archive = Archive.open(path, StoragePolicy(**policy), sync=sync, recovers=recovers)  # type: ignore[arg-type]
        opened.append(archive)
        return archive

    yield open_
    for archive in opened:
        archive.close()


@pytest.fixture
def archive(open_archive: Callable[..., Archive]) -> Archive:
    """Open an archive with the defaults."""
    return open_archive()
