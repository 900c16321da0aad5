"""The page as it is built of these sources."""

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent


def page_built() -> Path:
    """Return the folder of the built page; a test fails where it is missing or of other sources."""
    sys.path.insert(0, str(ROOT / "tools"))
    try:
        import page
    finally:
        sys.path.pop(0)
    if not page.is_built():
        pytest.fail("the page is to be built first: .venv/bin/python tools/page.py")
    return page.BUILT
