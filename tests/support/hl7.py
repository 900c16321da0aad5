"""Messages of HL7, and a sender of them over MLLP."""

import socket
import ssl
from collections.abc import Mapping
from types import MappingProxyType

END = b"\x1c\x0d"


def order(
    *,
    control: str = "NW",
    status: str = "SC",
    control_id: str = "1",
    charset: str = "",
    fields: Mapping[str, str] = MappingProxyType({}),
) -> str:
    """Write an ORM^O01 of one step; `fields` replace or add fields, as `PID-3`."""
    lines: dict[str, dict[int, str]] = {
        "MSH": {
            2: "^~\\&",
            3: "RIS",
            4: "HOSP",
            7: "20261124101500",
            9: "ORM^O01",
            10: control_id,
            11: "P",
            12: "2.3.1",
        },
        "PID": {3: "4711^^^HOSP^PI", 5: "Doe^Jane", 7: "19700101", 8: "F"},
        "PV1": {3: "WARD^12^1"},
        "ORC": {1: control, 2: "PL1^RIS", 3: "FI1^RIS", 5: status, 7: "^^^202611241100^^R"},
        "OBR": {4: "CTH^CT head^L", 18: "ACC1", 19: "RP1", 20: "SPS1", 24: "CT"},
        "ZDS": {1: "1.2.3.4.5^X^Application^DICOM"},
    }
    if charset:
        lines["MSH"][18] = charset
    for place, text in fields.items():
        name, _, number = place.partition("-")
        lines.setdefault(name, {})[int(number)] = text
    return "".join(f"{segment(name, values)}\r" for name, values in lines.items())


def segment(name: str, values: Mapping[int, str]) -> str:
    """Write a segment; of MSH the first field is the separator."""
    first = 2 if name == "MSH" else 1
    return "|".join([name, *(values.get(n, "") for n in range(first, max(values, default=0) + 1))])


class Sender:
    """A connection to the archive's HL7 port."""

    def __init__(self, port: int, context: ssl.SSLContext | None = None) -> None:
        sock = socket.create_connection(("127.0.0.1", port), 10)
        self.sock = context.wrap_socket(sock, server_hostname="localhost") if context else sock
        self.sock.settimeout(20)
        self._held = b""

    def send(self, message: str | bytes) -> str:
        """Send a message and return its answer."""
        data = message if isinstance(message, bytes) else message.encode("latin-1")
        self.sock.sendall(b"\x0b" + data + END)
        return self.answer()

    def answer(self) -> str:
        """Wait for the next answer."""
        while END not in self._held:
            piece = self.sock.recv(65536)
            assert piece, "the connection was closed"
            self._held += piece
        answer, _, self._held = self._held.partition(END)
        return answer.removeprefix(b"\x0b").decode("latin-1")

    def close(self) -> None:
        """Hang up."""
        self.sock.close()


def code(answer: str) -> str:
    """Return MSA-1 and MSA-2 of an answer."""
    (msa,) = (line for line in answer.split("\r") if line.startswith("MSA"))
    return " ".join(msa.split("|")[1:3])


def error(answer: str) -> tuple[str, str]:
    """Return the location and the condition that an answer names."""
    (err,) = (line.split("|") for line in answer.split("\r") if line.startswith("ERR"))
    return err[2], err[3].partition("^")[0]
