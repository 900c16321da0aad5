"""The folder where processes share their counts."""

import os
from pathlib import Path

import pytest

from minipacs.daemon import metrics_folder
from minipacs.daemon.metrics_folder import MetricsFolder
from minipacs.errors import MinipacsError


@pytest.fixture(autouse=True)
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(metrics_folder, "SHARED_MEMORY", tmp_path)
    monkeypatch.delenv("RUNTIME_DIRECTORY", raising=False)
    return tmp_path


def abandoned(storage: str) -> Path:
    """Leave a folder as a daemon does that is killed."""
    folder = MetricsFolder(Path(storage))
    (folder.path / "counter_1.db").write_bytes(b"x")
    os.close(folder._fd)
    return folder.path


def test_what_killed_daemons_left_is_removed_by_the_next_of_any_storage_folder():
    left = abandoned("/a")
    other = MetricsFolder(Path("/b"))
    assert not left.exists()
    assert list(other.path.iterdir()) == []
    other.remove()


def test_what_the_last_daemon_left_is_emptied(base: Path):
    left = abandoned("/a")
    again = MetricsFolder(Path("/a"))
    assert again.path == left
    assert list(left.iterdir()) == []
    again.remove()
    assert list(base.iterdir()) == []


def test_folders_in_use_and_those_of_others_stay(base: Path):
    first = MetricsFolder(Path("/a"))
    (first.path / "counter_1.db").write_bytes(b"x")
    strange, open_to_all = base / "other-0-1", base / f"minipacs-{os.geteuid()}-open"
    strange.mkdir()
    open_to_all.mkdir(mode=0o755)
    second = MetricsFolder(Path("/b"))
    assert (first.path / "counter_1.db").exists()
    assert strange.exists()
    assert open_to_all.exists()
    first.remove()
    second.remove()


def test_a_folder_that_others_may_enter_is_refused(base: Path):
    folder = MetricsFolder(Path("/a"))
    folder.remove()
    folder.path.mkdir(mode=0o755)
    with pytest.raises(MinipacsError, match="not a folder of our own"):
        MetricsFolder(Path("/a"))
