"""`minipacs changes`: the feed, read and followed, and what is no longer kept."""

import json
import subprocess
import time
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from minipacs.archive.archive import Archive
from minipacs.archive.ingest import StoragePolicy
from minipacs.cli import main
from minipacs.jobs.forgetting import Forgetting
from tests.support.objects import ct, save
from tests.support.server import MINIPACS


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "minipacs.toml"
    path.write_text('[storage]\npath = "./var"\nmin_free_bytes = 0\n')
    return path


def call(config: Path, *arguments: object) -> Result:
    name, *rest = map(str, arguments)
    return CliRunner().invoke(main, [name, "--config", str(config), *rest])


def store(config: Path, *uids: str) -> None:
    files = [
        save(ct(SOPInstanceUID=uid, SeriesInstanceUID="1.2.3.1", StudyInstanceUID="1.2.3"), config.parent / uid)
        for uid in uids
    ]
    assert call(config, "import", *files).exit_code == 0


def told(config: Path, *options: object) -> list[dict[str, object]]:
    result = call(config, "changes", "--json", *options)
    assert result.exit_code == 0, result.output
    return json.loads(result.output)  # type: ignore[no-any-return]


def test_what_comes_and_goes_is_told_in_its_order_and_from_any_number_on(config: Path):
    store(config, "1.2.3.1.1", "1.2.3.1.2")
    assert call(config, "delete", "--yes", "SOPInstanceUID=1.2.3.1.1").exit_code == 0
    rows = told(config)
    assert [(row["action"], row["instance"]) for row in rows] == [
        ("create", "1.2.3.1.1"),
        ("create", "1.2.3.1.2"),
        ("delete", "1.2.3.1.1"),
    ]
    assert set(rows[0]) == {"seq", "at", "action", "study", "series", "instance", "digest", "source", "reason"}
    assert told(config, "--since", rows[1]["seq"]) == rows[2:]
    assert told(config, "--since", rows[2]["seq"]) == []


def test_what_is_no_longer_kept_is_said_and_not_passed_over(config: Path):
    store(config, "1.2.3.1.1", "1.2.3.1.2")
    first, second = told(config)
    archive = Archive.open(config.parent / "var", StoragePolicy())
    Forgetting(archive.index.forget_changes, 1, lambda: False).work()
    assert len(archive.index.changes(0)) == 2
    assert archive.index.forget_changes(time.time() + 1) == 2
    assert archive.index.forget_changes(time.time() + 1) == 0
    archive.close()
    assert told(config) == []
    refused = call(config, "changes", "--since", first["seq"])
    assert refused.exit_code == 1
    assert f"up to {second['seq']} are no longer kept" in refused.output
    store(config, "1.2.3.1.3")
    (third,) = told(config)
    assert int(str(third["seq"])) > int(str(second["seq"]))


def test_the_feed_is_followed(config: Path):
    store(config, "1.2.3.1.1")
    command = [*MINIPACS, "changes", "--config", str(config), "--follow", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["instance"] == "1.2.3.1.1"
        store(config, "1.2.3.1.2")
        assert json.loads(process.stdout.readline())["instance"] == "1.2.3.1.2"
        process.terminate()
