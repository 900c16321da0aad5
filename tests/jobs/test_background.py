"""Jobs that fail: how often that is logged."""

import logging
import threading
from pathlib import Path

import pytest

from minipacs.jobs import background as background_module
from minipacs.jobs.background import Background

DEADLINE_S = 20


def test_a_job_on_a_full_disk_is_logged_once_until_it_succeeds(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(background_module, "RETRY_S", 0.001)
    caplog.set_level(logging.ERROR)
    disks = iter(["/dev/full"] * 20 + ["/dev/null"] + ["/dev/full"] * 20)
    is_over = threading.Event()

    def job() -> float:
        disk = next(disks, None)
        if disk is None:
            is_over.set()
            return 60
        Path(disk).write_bytes(b"a row")
        return 0

    background = Background()
    background.start([job])
    assert is_over.wait(DEADLINE_S)
    background.stop()
    told = [(record.getMessage(), record.fields["reason"]) for record in caplog.records]
    assert told == [("background job failed", "[Errno 28] No space left on device")] * 2
