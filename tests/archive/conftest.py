"""Fixtures of the archive's tests."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from minipacs.archive.archive import Archive
from minipacs.archive.ingest import StoragePolicy


@pytest.fixture
def open_archive(tmp_path: Path) -> Iterator[Callable[..., Archive]]:
    """Open archives without a daemon, all in one folder by default; they are closed at the test's end."""
    opened: list[Archive] = []

    def open_(
        path: Path = tmp_path / "archive", sync: str = "always", recovers: bool = False, **policy: object
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
