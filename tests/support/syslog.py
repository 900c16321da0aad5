"""The collectors that hospitals have, rsyslog and syslog-ng, as plain processes with configurations of their own."""

import os
import shutil
import signal
import socket
import subprocess
import sys
from abc import ABC, abstractmethod
from contextlib import suppress
from pathlib import Path

import pytest

from tests.support.audit_messages import check
from tests.support.certificates import Pair
from tests.support.waiting import until

UNPACKED = Path(sys.prefix) / "debian"
"""Where tools/setup.sh puts programs that are not to be installed: Debian's packages of these start services."""
FILE = "audit.log"
MAX_MESSAGE_BYTES = 65536
STOP_S = 20
LIBRARIES = "usr/lib/*-linux-gnu*", "lib/*-linux-gnu*", "usr/lib/syslog-ng"


def program(name: str) -> str:
    """Return a program's path; that it is missing is an error, not a reason to skip."""
    path = shutil.which(name, path=os.pathsep.join([os.environ["PATH"], "/usr/sbin", str(UNPACKED / "usr/sbin")]))
    if path is None:
        pytest.fail(f"{name} is missing: tools/test fetches it")
    return path


def folders_of(*patterns: str) -> list[str]:
    """List the folders that match, of what is unpacked and of what is installed."""
    return [str(path) for root in (UNPACKED, Path("/")) for pattern in patterns for path in root.glob(pattern)]


class SyslogDaemon(ABC):
    """Takes messages over mutual TLS on a port that stays the same, and appends each to a file."""

    def __init__(self, folder: Path, pair: Pair, ca: Path) -> None:
        folder.mkdir(parents=True)
        self.folder, self.pair, self.ca = folder, pair, ca
        self.written = folder / "messages"
        self.log = folder / "log"
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        (folder / "conf").write_text(self.configuration())
        self.start()

    def settings(self, us: Pair) -> str:
        """Return what lets an archive with this certificate send here, and write the same to a file."""
        files = f'certificate = "{us.certificate}"\nkey = "{us.key}"\nca = "{self.ca}"\n'
        return f'[audit]\nfile = "{FILE}"\nsyslog = "tls://localhost:{self.port}"\n[tls]\nport = 0\n{files}'

    @abstractmethod
    def configuration(self) -> str:
        """Write what lets the daemon write PRI, APP-NAME, MSGID and MSG as it has understood them."""

    @abstractmethod
    def command(self) -> list[str]:
        """Return what runs it in the foreground."""

    def start(self) -> None:
        """Start the daemon, and wait until it listens."""
        libraries = {"LD_LIBRARY_PATH": ":".join(folders_of(*LIBRARIES))}
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self.command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log, env={**os.environ, **libraries}
            )
        until(self._listens, self.log.read_text)

    def _listens(self) -> bool:
        assert self._process.poll() is None, self.log.read_text()
        with suppress(OSError):
            socket.create_connection(("127.0.0.1", self.port), 1).close()
            return True
        return False

    def stop(self, number: int = signal.SIGTERM) -> None:
        """End it."""
        self._process.send_signal(number)
        try:
            self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def messages(self) -> list[bytes]:
        """Return the XML of all messages that were written whole."""
        if not self.written.exists():
            return []
        return [line.split(b" ", 3)[3].removeprefix(b"\xef\xbb\xbf") for line in self.lines()]

    def lines(self) -> list[bytes]:
        """Return what was written, line by line."""
        return self.written.read_bytes().rpartition(b"\n")[0].splitlines() if self.written.exists() else []

    def wait_for(self, count: int) -> list[bytes]:
        """Wait until so many messages are written."""
        until(
            lambda: len(self.lines()) >= count,
            lambda: f"{len(self.lines())} of {count} messages\n{self.log.read_text()}",
        )
        return self.messages()


def hold_all(taken: list[bytes], trail: list[bytes], kinds: set[str]) -> None:
    """Assert that a collector has all of a trail in its order, each message once or again after a break.

    Every message has to be valid, and there have to be some of all kinds of events.
    """
    missing = set(trail) - set(taken)
    assert not missing, f"{len(missing)} of {len(trail)} messages are missing: {sorted(missing)[:3]}"
    assert list(dict.fromkeys(taken)) == list(dict.fromkeys(trail)), "not in the order of the file"
    found = {code.get("csd-code") for line in set(trail) for code in check(line).find("EventIdentification")}
    assert kinds <= found, kinds - found


class Rsyslog(SyslogDaemon):
    """rsyslog with the ossl driver."""

    def configuration(self) -> str:
        return f"""
global(workDirectory="{self.folder}" maxMessageSize="{MAX_MESSAGE_BYTES}" parser.escapeControlCharactersOnReceive="off"
       defaultNetstreamDriver="ossl" defaultNetstreamDriverCAFile="{self.ca}"
       defaultNetstreamDriverCertFile="{self.pair.certificate}" defaultNetstreamDriverKeyFile="{self.pair.key}")
module(load="imtcp" streamDriver.name="ossl" streamDriver.mode="1" streamDriver.authMode="x509/certvalid")
input(type="imtcp" address="127.0.0.1" port="{self.port}")
template(name="fields" type="string" string="<%pri%> %app-name% %msgid% %msg%\\n")
action(type="omfile" file="{self.written}" template="fields")
"""

    def command(self) -> list[str]:
        modules = ":".join(folders_of("usr/lib/*/rsyslog"))
        return [program("rsyslogd"), "-n", "-i", "NONE", "-f", str(self.folder / "conf"), "-M", modules]


class SyslogNg(SyslogDaemon):
    """syslog-ng."""

    def configuration(self) -> str:
        return f"""@version: current
options {{ log_msg_size({MAX_MESSAGE_BYTES}); use_dns(no); keep_hostname(yes); }};
source tls {{ syslog(ip("127.0.0.1") port({self.port}) transport("tls") tls(
    key-file("{self.pair.key}") cert-file("{self.pair.certificate}") ca-file("{self.ca}")
    peer-verify(required-trusted))); }};
destination written {{ file("{self.written}" template("<$PRI> $PROGRAM $MSGID $MSG\\n")); }};
log {{ source(tls); destination(written); }};
"""

    def command(self) -> list[str]:
        at = {"-f": "conf", "-R": "persist", "-p": "pid", "-c": "control"}
        options = [text for option, name in at.items() for text in (option, str(self.folder / name))]
        modules = ":".join(folders_of("usr/lib/syslog-ng/[0-9]*"))
        return [program("syslog-ng"), "-F", "-e", "--no-caps", f"--module-path={modules}", *options]
