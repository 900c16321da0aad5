"""Orders over MLLP to the real process: what becomes of them on the worklist, and what their sender is answered."""

import json
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from subprocess import DEVNULL, PIPE

import pytest

from minipacs.hl7.framing import MAX_MESSAGE_BYTES
from tests.support import modality
from tests.support.hl7 import Sender, code, error, order
from tests.support.objects import ct
from tests.support.sender import Sender as StoreSender
from tests.support.server import Server, run
from tests.support.site import Site
from tests.support.wire import free_port
from tests.system.test_audit import told
from tests.system.test_performed_step import associate, begun, create

HL7 = '[hl7]\nport = {port}\n{more}\n[[station]]\ntitle = "CT1"\nmodality = "CT"\n'
ORDER_RECORD, PROCEDURE_RECORD = "110109", "110111"


class Ris:
    """An archive that takes orders, and a connection to it."""

    def __init__(self, folder: Path, settings: str = "", more: str = "") -> None:
        self.port = free_port()
        self.server = Server(folder, more=HL7.format(port=self.port, more=settings) + more)
        self.sender = Sender(self.port)

    def send(self, message: str | bytes) -> str:
        return self.sender.send(message)

    def steps(self) -> list[str]:
        """Ask for the steps that are to be done, as a modality does."""
        return modality.ask(self.server.port, modality.key("ScheduledStationAETitle", "CT1")).ids()

    def messages(self, *options: str) -> list[dict[str, object]]:
        found = run("hl7", "list", "--json", *options, "--config", self.server.config).stdout
        return json.loads(found)  # type: ignore[no-any-return]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Ris]]:
    running: list[Ris] = []

    def begin(settings: str = "", more: str = "") -> Ris:
        running.append(Ris(tmp_path / str(len(running)), settings, more))
        return running[-1]

    yield begin
    for ris in running:
        ris.sender.close()
        ris.server.end()


@pytest.fixture(scope="module")
def ris(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ris]:
    found = Ris(tmp_path_factory.mktemp("ris"))
    yield found
    found.sender.close()
    found.server.end()


def own(number: int, **more: str) -> dict[str, str]:
    """Give the fields of an order that no other test uses."""
    names = {"ZDS-1": f"1.2.77.{number}", "OBR-18": f"A{number}", "OBR-19": f"R{number}", "OBR-20": f"S{number}"}
    return {**names, "ORC-3": f"F{number}", **{place.replace("_", "-"): text for place, text in more.items()}}


def test_an_order_is_on_the_worklist_when_it_is_acknowledged_and_off_it_when_it_is_taken_back(ris: Ris):
    assert code(ris.send(order(control_id="a1", fields=own(1)))) == "AA a1"
    assert "S1" in ris.steps()
    (found,) = modality.ask(ris.server.port, "PatientID=4711", "AccessionNumber=A1", "PatientName")
    assert found.PatientName == "Doe^Jane"
    assert code(ris.send(order(control="CA", status="CA", control_id="a2", fields=own(1)))) == "AA a2"
    assert "S1" not in ris.steps()


def test_a_step_that_is_begun_is_neither_taken_back_nor_begun_anew(ris: Ris):
    ris.send(order(control_id="b1", fields=own(2)))
    step = {"StudyInstanceUID": "1.2.77.2", "ScheduledProcedureStepID": "S2", "AccessionNumber": "A2"}
    association = associate(ris.server)
    create(association, begun(ScheduledStepAttributesSequence=[step], PatientID="4711"))
    association.release()
    assert "S2" not in ris.steps()
    assert code(ris.send(order(control="CA", status="CA", control_id="b2", fields=own(2)))) == "AA b2"
    assert code(ris.send(order(control_id="b3", fields=own(2)))) == "AA b3"
    assert "S2" not in ris.steps()
    (row,) = (
        row
        for row in json.loads(run("worklist", "list", "--all", "--json", "--config", ris.server.config).stdout)
        if row["StudyInstanceUID"] == "1.2.77.2"
    )
    assert row["ScheduledProcedureStepSequence"][0]["ScheduledProcedureStepStatus"] == "STARTED"


def test_the_same_message_again_does_nothing_and_is_answered_the_same(ris: Ris):
    first = ris.send(order(control_id="c1", fields=own(3)))
    ris.send(order(control="CA", status="CA", control_id="c2", fields=own(3)))
    assert ris.send(order(control_id="c1", fields=own(3))) == first
    assert "S3" not in ris.steps()
    assert code(ris.send(order(control_id="c1", fields=own(3, PID_7="19710101")))) == "AA c1"
    assert "S3" in ris.steps()


def test_the_study_of_another_patient_is_refused_whether_ordered_or_stored(ris: Ris):
    ris.send(order(control_id="d1", fields=own(4)))
    refused = ris.send(order(control_id="d2", fields=own(4, PID_3="666^^^HOSP")))
    assert (code(refused), error(refused)) == ("AR d2", ("PID^1^3", "204"))
    sender = StoreSender(ris.server.port)
    assert sender.store(ct(StudyInstanceUID="1.2.77.5", PatientID="P1")).status == 0
    sender.socket.close()
    refused = ris.send(order(control_id="d3", fields=own(5)))
    assert (code(refused), error(refused)) == ("AR d3", ("PID^1^3", "204"))
    assert "S5" not in ris.steps()


def test_messages_are_kept_with_their_answers_and_can_be_done_again(ris: Ris):
    ris.send(order(control_id="e1", fields=own(6, OBR_24="US")))
    (kept,) = ris.messages("--control-id", "e1")
    assert (kept["ack"], kept["type"], kept["sender"]) == ("AE", "ORM^O01", "RIS|HOSP")
    shown = json.loads(run("hl7", "show", str(kept["id"]), "--config", ris.server.config).stdout)
    assert shown["message"][0].startswith("MSH|^~\\&|RIS")
    assert shown["answer"][1] == "MSA|AE|e1|no station is named, and none of [[station]] fits the order"
    with ris.server.config.open("a") as config:
        config.write('[[station]]\ntitle = "US1"\nmodality = "US"\n')
    assert run("hl7", "replay", str(kept["id"]), "--config", ris.server.config).stdout == f"{kept['id']}: AA\n"
    found = json.loads(run("worklist", "list", "--json", "Modality=US", "--config", ris.server.config).stdout)
    assert [row["AccessionNumber"] for row in found] == ["A6"]


@pytest.mark.parametrize(
    ("message", "answered", "at"),
    [
        (order(fields={"MSH-9": "ORU^R01"}), "AR 1", ("MSH^1^9", "200")),
        (order(fields={"MSH-9": "ORM^O99"}), "AR 1", ("MSH^1^9", "201")),
        (order(fields={"MSH-12": "3.0"}), "AR 1", ("MSH^1^12", "203")),
        (order(charset="EBCDIC"), "AE 1", ("MSH^1^18", "103")),
        ("PID|1\r", "AE ", ("MSH^1", "100")),
        (order() + order(), "AE 1", ("MSH^2", "100")),
        (order() + "ZZZ|" + "x" * (MAX_MESSAGE_BYTES - 2000) + "\r", "AA 1", None),
    ],
    ids=["type", "event", "version", "charset", "no head", "glued", "long"],
)
def test_what_is_not_understood_is_refused_and_the_next_one_taken(
    ris: Ris, message: str, answered: str, at: tuple[str, str] | None
):
    answer = ris.send(message)
    assert code(answer).strip() == answered.strip()
    assert at is None or error(answer) == at
    assert code(ris.send(order(control_id="next", fields=own(7)))) == "AA next"


def test_appointments_are_taken_and_change_nothing(ris: Ris):
    before = ris.steps()
    assert code(ris.send(order(control_id="f1", fields={"MSH-9": "SIU^S12"}))) == "AA f1"
    assert ris.steps() == before


def test_a_sender_that_reads_no_answer_gets_none(ris: Ris):
    ris.sender.sock.sendall(b"\x0b" + order(control_id="g1", fields={"MSH-16": "NE"}).encode() + b"\x1c\x0d")
    assert code(ris.send(order(control_id="g2"))) == "AA g2"


def test_mllp_send_is_answered(ris: Ris, tmp_path: Path):
    (tmp_path / "message").write_bytes(order(control_id="h1", fields=own(8)).encode())
    command = [Path(sys.executable).parent / "mllp_send", "--loose", "-f", tmp_path / "message"]
    done = subprocess.run([*command, "-p", str(ris.port), "127.0.0.1"], capture_output=True, timeout=60, check=True)
    assert b"MSA|AA|h1" in done.stdout


def test_messages_are_counted(ris: Ris):
    before = ris.server.metric("minipacs_hl7_messages_total", type="ORM^O01", ack="AA")
    ris.send(order(control_id="i1", fields=own(9)))
    ris.send(order(control="CA", status="CA", control_id="i2", fields=own(9)))
    assert ris.server.metric("minipacs_hl7_messages_total", type="ORM^O01", ack="AA") == before + 2
    ris.server.wait_for(lambda line: line.get("event") == "message received" and line.get("control_id") == "i2")


def test_orders_and_their_steps_are_audited(start: Callable[..., Ris]):
    ris = start(more='[audit]\nfile = "audit.log"\n')
    ris.send(order(control_id="1"))
    ris.send(order(control="CA", status="CA", control_id="2"))
    ris.server.stop()
    found = [(one.event, one.action) for one in told(ris.server.folder / "audit.log", ORDER_RECORD, PROCEDURE_RECORD)]
    assert found == [(ORDER_RECORD, "U"), (PROCEDURE_RECORD, "U"), (ORDER_RECORD, "D"), (PROCEDURE_RECORD, "D")]


def test_nothing_of_a_patient_is_in_the_log(ris: Ris):
    ris.send(order(control_id="j1", fields=own(10, PID_5="Secret^Name", PID_3="HIDDEN^^^HOSP")))
    ris.send(order(control_id="j2", fields=own(10, PID_5="Secret^Name", PID_3="x" * 70)))
    assert not [line for line in ris.server.raw if "Secret" in line or "HIDDEN" in line or "xxxx" in line]


def test_what_is_acknowledged_survives_a_kill(start: Callable[..., Ris]):
    ris = start()
    for number in range(20):
        assert code(ris.send(order(control_id=str(number), fields=own(number)))).startswith("AA")
    ris.server.kill()
    ris.server.start()
    assert sorted(ris.steps()) == sorted(f"S{number}" for number in range(20))
    ris.sender = Sender(ris.port)
    assert code(ris.send(order(control_id="3", fields=own(3)))) == "AA 3"
    assert len(ris.messages("--control-id", "3")) == 1


def test_only_named_senders_and_hosts_are_taken(start: Callable[..., Ris]):
    ris = start('senders = ["RIS|OTHER"]')
    assert error(ris.send(order())) == ("MSH^1^3", "204")
    assert code(ris.send(order(fields={"MSH-4": "OTHER"}))) == "AA 1"
    other = start('hosts = ["127.0.0.2"]')
    with pytest.raises((AssertionError, OSError)):
        other.send(order())
    other.server.wait_for(lambda line: "hl7.hosts" in str(line.get("reason")))


def test_a_reload_ends_connections_between_messages_and_new_ones_are_served(start: Callable[..., Ris]):
    ris = start()
    assert code(ris.send(order(control_id="1", fields=own(1)))) == "AA 1"
    ris.server.reload()
    assert ris.sender.sock.recv(1) == b""
    ris.sender = Sender(ris.port)
    assert code(ris.send(order(control_id="2", fields=own(2)))) == "AA 2"


def test_a_message_that_never_ends_is_cut_off_and_harms_nobody(start: Callable[..., Ris]):
    ris = start(more="[timeouts]\ndimse = 0.5\n")
    slow = Sender(ris.port)
    slow.sock.sendall(b"\x0bMSH|")
    assert code(ris.send(order())) == "AA 1"
    assert slow.sock.recv(1) == b""
    ris.server.wait_for(lambda line: line.get("event") == "hl7 connection closed")
    noisy = Sender(ris.port)
    with suppress(OSError):  # cut off while it writes
        for _ in range(64):
            noisy.sock.sendall(b"GET / HTTP/1.1\r\n" * 4096)
    assert cut_off(noisy)


def cut_off(sender: Sender) -> bool:
    with suppress(ConnectionResetError):
        return sender.sock.recv(1) == b""
    return True


def test_orders_come_over_tls(start: Callable[..., Ris], tmp_path: Path):
    site = Site(tmp_path / "site")
    port = free_port()
    server = Server(tmp_path / "tls", more=HL7.format(port=port, more="tls = true") + site.lines())
    try:
        sender = Sender(port, site.context(site.ct1))
        assert code(sender.send(order())) == "AA 1"
        sender.close()
        plain = socket.create_connection(("127.0.0.1", port), 10)
        plain.sendall(b"\x0bMSH|")
        server.wait_for(lambda line: line.get("event") == "hl7 connection closed")
        plain.close()
        client = ["openssl", "s_client", "-quiet", "-connect", f"127.0.0.1:{port}", "-CAfile", site.ca.certificate]
        shown = ["-cert", site.ct2.certificate, "-key", site.ct2.key]
        with subprocess.Popen([*client, *shown], stdin=PIPE, stdout=PIPE, stderr=DEVNULL) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(b"\x0b" + order(control_id="2").encode() + b"\x1c\x0d")
            process.stdin.flush()
            answer = b""
            while b"\x1c" not in answer:
                answer += process.stdout.read1()
            process.kill()
        assert b"MSA|AA|2" in answer
    finally:
        server.end()


@pytest.mark.parametrize(
    ("lines", "fault"),
    [
        ('bind = "0.0.0.0"', "hl7.bind"),
        ("tls = true", "hl7.tls"),
        ('charset = "EBCDIC"', "hl7.charset"),
        ('senders = ["RIS"]', "hl7.senders"),
    ],
)
def test_a_configuration_that_would_not_do_is_refused(tmp_path: Path, lines: str, fault: str):
    (tmp_path / "minipacs.toml").write_text(f"[hl7]\nport = 2575\n{lines}\n")
    done = run("check", config=tmp_path / "minipacs.toml", check=False)
    assert done.returncode == 2
    assert fault in done.stdout + done.stderr
