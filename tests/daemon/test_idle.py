"""An archive that nobody asks for anything writes nothing: its disk may sleep."""

from pathlib import Path

import pytest

from minipacs import metrics
from minipacs.archive.archive import Archive
from minipacs.archive.care import sizes
from minipacs.archive.care.sizes import SizeCheck
from minipacs.archive.ingest import StoragePolicy
from minipacs.config import load
from minipacs.daemon.opening import open_audit
from minipacs.daemon.processes.jobs import _jobs
from minipacs.index.engine.writer import Writer
from minipacs.jobs.background import Background
from tests.support.objects import study
from tests.support.storing import put

ROUNDS = 20


@pytest.mark.parametrize("sync", ["always", "batch"])
def test_jobs_commit_nothing_while_nothing_happens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sync: str):
    folder = tmp_path / "worklist"
    folder.mkdir()
    (folder / "broken.wl").write_bytes(b"no worklist item")
    (tmp_path / "minipacs.toml").write_text(
        f'[storage]\npath = "{tmp_path}/data"\nsync = "{sync}"\ncompress = "jpeg2000-lossless"\n'
        f'[worklist]\nfolder = "{folder}"\n'
    )
    config = load(tmp_path / "minipacs.toml")
    archive = Archive.open(tmp_path / "data", StoragePolicy(), sync=sync)
    for ds in study(instances=3):
        put(archive, ds)
    sizes.begin(archive.index)
    begun: list[int] = []
    commit = Writer._commit

    def counted(self: Writer, changes):
        begun.append(len(changes))
        return commit(self, changes)

    monkeypatch.setattr(Writer, "_commit", counted)
    monkeypatch.setattr(sizes, "NOTED_S", float("inf"))
    SizeCheck(archive).work()
    assert len(begun) == 1, "how far it is needs no commit for each folder"
    jobs = _jobs(config, archive, Background(), metrics.Metrics(()), open_audit(config), lambda title: False)
    try:
        for _ in range(ROUNDS):
            for job in jobs:
                job()
        assert begun, "there was something to do at first"
        begun.clear()
        for _ in range(ROUNDS):
            for job in jobs:
                job()
        assert begun == []
    finally:
        archive.close()
