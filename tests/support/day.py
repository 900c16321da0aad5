"""A day of an archive in small: each kind of event that the audit trail knows (PS3.15 A.5.3), with real clients."""

import http.client
from collections.abc import Callable
from pathlib import Path

from minipacs.audit.events import EVENTS
from minipacs.net.identity import users
from tests.support import wire
from tests.support.finder import Finder
from tests.support.hl7 import Sender as Ris
from tests.support.hl7 import order
from tests.support.objects import save, study
from tests.support.receiver import Receiver
from tests.support.retriever import get, move
from tests.support.sender import Sender
from tests.support.server import Server, run
from tests.support.wire import CT, EXPLICIT, VERIFICATION, Wire, context

WORKLIST = "1.2.840.10008.5.1.4.31"
USER, PASSCODE = b"anna", b"right"
SCHEDULED = ("Modality=CT", "ScheduledStationAETitle=CT1")
UNTOLD = {"110133", "110134"}
"""Types of alerts that no day has: a trail that begins or ends."""
KINDS = set(EVENTS) | {type_.value for event in EVENTS.values() for type_ in event.types} - UNTOLD


class Day:
    """What people and machines do to `server`, which was started with `lines`."""

    def __init__(self, server: Server, web_port: int, hl7_port: int) -> None:
        self._server, self._web_port, self._hl7_port = server, web_port, hl7_port
        self._number = 0
        users.add(server.data / "users", USER.decode(), PASSCODE, ["echo", "store"])

    @staticmethod
    def lines(receiver: Receiver, web_port: int, hl7_port: int) -> str:
        """Return what the configuration needs for all of it."""
        peer = '[[peer]]\ntitle = "ECHOER"\nallow = ["echo"]\n'
        web = f'[web]\nport = {web_port}\nanonymous = ["read", "store"]\n'
        hl7 = f'[hl7]\nport = {hl7_port}\n[[station]]\ntitle = "CT1"\n'
        return f'[access]\nidentity = "check"\n{web}{hl7}{receiver.peer()}{peer}'

    def pass_by(self) -> None:
        """Do everything once."""
        self._number += 1
        works: tuple[Callable[[], None], ...] = (
            self._receive_and_give,
            self._keep_out,
            self._sign_in,
            self._order,
            self._search_over_http,
            self._administer,
        )
        for work in works:
            work()

    def _receive_and_give(self) -> None:
        port = self._server.port
        first, other, *_ = objects = study(instances=3, PatientID=f"P{self._number}", PatientName="Müller^Jörg")
        with Sender(port) as sender:
            for ds in (*objects, first):
                assert sender.store(ds).status == 0
            other.StudyDescription = "ANOTHER"
            assert sender.store(other).status == 0
            sender.release()
        keys = {"study": str(first.StudyInstanceUID)}
        assert move(port, "STUDY", **keys).final.status == 0
        assert get(port, (CT, EXPLICIT), level="STUDY", **keys).final.status == 0
        with Finder(port) as finder:
            assert finder.find("STUDY", PatientID=f"P{self._number}", StudyInstanceUID="").status == 0
        with Finder(port, WORKLIST) as finder:
            assert finder.find("", PatientID=f"P{self._number}").status == 0

    def _keep_out(self) -> None:
        with Wire(self._server.port) as stranger:
            stranger.associate(context(1, VERIFICATION), calling=b"")
        with Wire(self._server.port) as echoer:
            echoer.accepted(context(1, VERIFICATION), context(3, CT, EXPLICIT), calling=b"ECHOER")

    def _sign_in(self) -> None:
        for passcode in (PASSCODE, b"wrong"):
            with Wire(self._server.port) as caller:
                item = wire.identity(2, USER, passcode)
                kind, _ = caller.associate(context(1, VERIFICATION), user=wire.user_information(16384, item))
                if kind == 2:
                    caller.release()

    def _administer(self) -> None:
        folder, patient = self._server.folder / f"day{self._number}", f"B{self._number}"
        objects = study(instances=2, PatientID=patient)
        for ds in objects:
            save(ds, folder / "in" / f"{ds.SOPInstanceUID}.dcm")
        self._run("import", folder / "in")
        self._run("export", "--to", folder / "out", f"PatientID={patient}")
        self._run("find", f"PatientID={patient}")
        self._run("correct", "--yes", f"PatientID={patient}", "--set", "PatientName=Right^One")
        self._run("delete", "--yes", f"SOPInstanceUID={objects[0].SOPInstanceUID}")
        self._run("quarantine", "release", _newest(self._server.quarantined()).stem)
        self._run("conflicts")
        self._run("amendments", "list")
        self._run("procedure-steps", "list")
        self._run("backup", folder / "index.db")
        self._run("worklist", "add", f"PatientID={patient}", "PatientName=Doe^J", *SCHEDULED)
        self._run("worklist", "list")
        self._run("passwd", "bert", input="a passcode\na passcode\n")
        self._damage()
        self._run("delete", "--yes", f"PatientID={patient}")
        self._run("audit", "show", "--since", "1m", "--columns", "event")
        self._reload()

    def _damage(self) -> None:
        """Let `verify` find what was stored last damaged."""
        kept = _newest(self._server.objects())
        kept.chmod(0o640)
        kept.write_bytes(b"damaged")
        self._run("verify", check=False)

    def _reload(self) -> None:
        """Read a configuration again that has changed: what is answered, who may call, how we listen."""
        text = self._server.config.read_text()
        other_size = text.replace("[ae]\n", "[ae]\nmax_pdu_bytes = 65536\n")
        for changed in (text + "[query]\nmax_matches = 7\n", text + '[[peer]]\ntitle = "OTHER"\n', other_size, text):
            self._server.config.write_text(changed)
            self._server.reload()

    def _order(self) -> None:
        sender = Ris(self._hl7_port)
        sender.send(order(control_id=f"day{self._number}"))
        sender.close()

    def _search_over_http(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._web_port, timeout=10)
        connection.request("GET", f"/dicom-web/studies?PatientID=P{self._number}")
        assert connection.getresponse().status == 200
        connection.close()

    def _run(self, *words: object, **how: object) -> None:
        run(*words, "--config", self._server.config, **how)


def _newest(paths: list[Path]) -> Path:
    return max(paths, key=lambda path: path.stat().st_mtime_ns)
