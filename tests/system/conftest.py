"""What tests of the whole archive share."""

from collections.abc import Iterator

import pytest

from tests.support.receiver import Receiver


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    """Another archive, that objects are moved to."""
    with Receiver() as running:
        yield running
