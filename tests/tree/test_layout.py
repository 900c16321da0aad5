from pathlib import Path

import pytest

from minipacs.tree.layout import PREFIXES, REASON_SUFFIX, Layout, is_digest, shelved

DIGEST = "ab" + "0" * 62


def test_paths_lie_below_the_root() -> None:
    layout = Layout(Path("/archive"))
    assert layout.published(DIGEST) == f"/archive/objects/ab/{DIGEST}.dcm"
    assert layout.folder(DIGEST) == "/archive/objects/ab"
    assert shelved(layout.quarantine, DIGEST) == f"/archive/quarantine/{DIGEST}.dcm"
    assert shelved(layout.quarantine, DIGEST, REASON_SUFFIX) == f"/archive/quarantine/{DIGEST}.json"
    assert layout.staged("7-1") == "/archive/incoming/7-1.part"
    assert layout.index == Path("/archive/index.db")


def test_there_is_a_folder_for_every_digest() -> None:
    assert len(set(PREFIXES)) == 256
    assert all(f"{i:064x}"[-2:] in PREFIXES for i in range(256))


@pytest.mark.parametrize(
    "text",
    ["", "ab", DIGEST.upper(), DIGEST + "0", DIGEST[:-1] + "g", DIGEST + "\n", "../" + DIGEST[3:], "٠" * 64],
)
def test_nothing_but_a_digest_becomes_a_path(text: str) -> None:
    layout = Layout(Path("/archive"))
    assert not is_digest(text)
    for path_of in (layout.published, layout.folder, lambda digest: shelved(layout.quarantine, digest)):
        with pytest.raises(ValueError, match="no digest"):
            path_of(text)
