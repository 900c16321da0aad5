"""Sends a day of audit messages to rsyslog and to syslog-ng, over mutual TLS, while they are away for a minute.

Modalities store and ask all the time, beside everything else that the trail tells of; then each collector has to have
every message of the audit file, in its order, and each message has to be valid.

    .venv/bin/python tools/collectors.py [--seconds S] [--away S]
The exit status is 1 if something of that is not so.
"""

import argparse
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))
from tests.support.certificates import Authority
from tests.support.day import KINDS, Day
from tests.support.finder import Finder
from tests.support.objects import study
from tests.support.receiver import Receiver
from tests.support.sender import Sender
from tests.support.server import Server
from tests.support.syslog import FILE, Rsyslog, SyslogDaemon, SyslogNg, hold_all
from tests.support.wire import free_port

MODALITIES = 2
PAUSE_S = 0.02


def modality(server: Server, number: int, is_over: threading.Event) -> None:
    """Store a study and ask for it, again and again."""
    while not is_over.wait(PAUSE_S):
        objects = study(instances=2, PatientID=f"M{number}")
        with Sender(server.port) as sender:
            for ds in objects:
                assert sender.store(ds).status == 0
            sender.release()
        with Finder(server.port) as finder:
            for ds in objects:
                assert finder.find("STUDY", StudyInstanceUID=str(ds.StudyInstanceUID)).status == 0
            finder.release()


def work(day: Day, until: float) -> None:
    """Let days pass by; at least one."""
    day.pass_by()
    while time.monotonic() < until:
        day.pass_by()


def lines(server: Server) -> list[bytes]:
    """Return the trail as the file has it."""
    return (server.folder / FILE).read_bytes().splitlines()


def try_one(kind: type[SyslogDaemon], folder: Path, seconds: float, away_s: float) -> str:
    """Return what was sent to a collector and has come; raises AssertionError if it is not all."""
    authority, web_port, hl7_port = Authority(folder / "ca"), free_port(), free_port()
    collector = kind(folder / "collector", authority.issue("COLLECTOR"), authority.certificate)
    is_over = threading.Event()
    with Receiver() as receiver, ThreadPoolExecutor(MODALITIES) as pool:
        settings = collector.settings(authority.issue("ARCHIVE")) + Day.lines(receiver, web_port, hl7_port)
        server = Server(folder / "archive", more=settings)
        try:
            modalities = [pool.submit(modality, server, number, is_over) for number in range(MODALITIES)]
            day = Day(server, web_port, hl7_port)
            work(day, time.monotonic() + seconds)
            collector.stop(signal.SIGKILL)
            before, told = len(collector.lines()), len(lines(server))
            work(day, time.monotonic() + away_s)
            told = len(lines(server)) - told
            collector.start()
            work(day, time.monotonic() + seconds)
            collector.wait_for(before + 1, 120)
            is_over.set()
            for each in modalities:
                each.result()
        finally:
            is_over.set()
            server.stop()
    trail = lines(server)
    taken = collector.wait_for(len(trail))
    collector.stop()
    hold_all(taken, trail, KINDS)
    again = sum((Counter(taken) - Counter(trail)).values())
    return (
        f"{len(trail)} messages, {max(map(len, trail))} bytes the longest; {before} before {away_s:g} s without it, "
        f"{told} meanwhile; all there, in order, valid; {again} twice"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=20, help="of work before and after (20)")
    parser.add_argument("--away", type=float, default=60, help="seconds without the collector (60)")
    arguments = parser.parse_args()
    failed = False
    for kind in (Rsyslog, SyslogNg):
        with tempfile.TemporaryDirectory(prefix="minipacs-collectors-") as name:
            try:
                told = try_one(kind, Path(name), arguments.seconds, arguments.away)
            except AssertionError as error:
                failed, told = True, f"FAILED: {error}"
            print(f"{kind.__name__}: {told}", flush=True)
    return failed


if __name__ == "__main__":
    sys.exit(main())
