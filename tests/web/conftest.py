"""Fixtures of the web's tests."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.web import Web


@pytest.fixture
def web(tmp_path: Path) -> Iterator[Web]:
    """Serve an archive of the test's own."""
    served = Web(tmp_path / "archive")
    yield served
    served.close()
