"""What systemd is told and gives, with stand-ins for it."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.server import CONFIG, MINIPACS
from tests.support.waiting import PATIENCE_S
from tests.support.wire import Wire

WAIT_S = 20
ACTIVATE = """
import os, sys
count = int(sys.argv[1])
for n in range(count):
    os.dup2(int(sys.argv[2 + n]), 3 + n)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(count), LISTEN_FDNAMES=sys.argv[2 + count])
os.execv(sys.executable, [sys.executable, *sys.argv[3 + count:]])
"""
"""Passes sockets on as systemd does: the process that is told of them is the one that has them."""


class Manager:
    """A stand-in for systemd: listens to what the service says."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "notify"
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(self.path))
        self.config = folder / "minipacs.toml"
        self.config.write_text(CONFIG.format(ae="workers = 2", storage="", more="", reserve=0))
        self.process: subprocess.Popen[str] | None = None

    def start(self, *wrapper: str, pass_fds: tuple[int, ...] = (), **environment: str) -> None:
        command = [*wrapper, *(MINIPACS if not wrapper else MINIPACS[1:]), "serve", "--config", str(self.config)]
        self.process = subprocess.Popen(
            command,
            env={**os.environ, "NOTIFY_SOCKET": str(self.path), **environment},
            pass_fds=pass_fds,
            stderr=subprocess.PIPE,
            text=True,
        )

    def hear(self, word: str, timeout_s: float = WAIT_S) -> str:
        """Return the next message that holds `word`."""
        deadline = time.monotonic() + timeout_s
        while True:
            self.socket.settimeout(max(deadline - time.monotonic(), 0.01))
            message = self.socket.recv(4096).decode()
            if word in message.splitlines() or word in message:
                return message

    def falls_silent(self, word: str) -> bool:
        """Tell whether `word` is not said any more after a while."""
        deadline = time.monotonic() + 2 * WAIT_S
        try:
            while time.monotonic() < deadline:
                self.hear(word, 2)
        except TimeoutError:
            return True
        return False

    def children(self, role: str) -> list[int]:
        assert self.process is not None
        pid = self.process.pid
        pids = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return [int(p) for p in pids if Path(f"/proc/{p}/comm").read_text().strip() == f"minipacs-{role}"]

    def stop(self) -> tuple[int, str]:
        assert self.process is not None
        self.process.terminate()
        _, text = self.process.communicate(timeout=PATIENCE_S)
        return self.process.returncode, text


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    found = Manager(tmp_path)
    yield found
    if found.process is not None and found.process.poll() is None:
        found.stop()
    found.socket.close()


def listening(address: str = "127.0.0.1") -> socket.socket:
    sock = socket.create_server((address, 0))
    return sock


def test_ready_is_said_when_associations_are_accepted_and_stopping_at_the_end(manager):
    sock = listening()
    manager.start(sys.executable, "-c", ACTIVATE, "1", str(sock.fileno()), "dicom", pass_fds=(sock.fileno(),))
    said = manager.hear("READY=1")
    assert "STATUS=MINIPACS accepts associations" in said
    with Wire(sock.getsockname()[1]) as caller:
        caller.accepted()
        caller.release()
    manager.process.terminate()
    assert "STATUS=draining" in manager.hear("STOPPING=1")
    assert manager.process.wait(PATIENCE_S) == 0
    sock.close()


def test_nothing_is_ready_that_cannot_start(manager):
    manager.config.write_text(manager.config.read_text().replace('"data"', '"/proc/none"'))
    manager.start()
    assert manager.process.wait(WAIT_S) == 1
    manager.socket.settimeout(0)
    with pytest.raises(BlockingIOError):
        manager.socket.recv(100)


def test_reloading_is_said_and_ready_again(manager):
    manager.start()
    manager.hear("READY=1")
    manager.process.send_signal(signal.SIGHUP)
    manager.hear("RELOADING=1")
    manager.hear("READY=1")
    manager.config.write_text("[ae")
    manager.process.send_signal(signal.SIGHUP)
    manager.hear("RELOADING=1")
    assert "not reloaded" in manager.hear("READY=1")


def test_the_watchdog_is_fed_while_workers_are_healthy_and_only_then(manager):
    manager.start(WATCHDOG_USEC="600000")
    manager.hear("READY=1")
    for _ in range(3):
        manager.hear("WATCHDOG=1", 5)
    [stuck, _] = manager.children("worker")
    os.kill(stuck, signal.SIGSTOP)
    assert manager.falls_silent("WATCHDOG=1")
    os.kill(stuck, signal.SIGCONT)
    manager.hear("WATCHDOG=1", 10)


def test_a_watchdog_for_another_process_is_not_fed(manager):
    manager.start(WATCHDOG_USEC="200000", WATCHDOG_PID="1")
    manager.hear("READY=1")
    with pytest.raises(TimeoutError):
        manager.hear("WATCHDOG=1", 2)


def test_sockets_that_were_opened_for_us_are_used(manager):
    dicom, other, http = listening(), listening(), listening()
    fds = [sock.fileno() for sock in (dicom, other, http)]
    words = [sys.executable, "-c", ACTIVATE, "3", *map(str, fds), "dicom:x:metrics"]
    manager.start(*words, pass_fds=tuple(fds))
    manager.hear("READY=1")
    for sock in (dicom, other):
        with Wire(sock.getsockname()[1]) as caller:
            caller.accepted()
            caller.release()
    with socket.create_connection(http.getsockname()) as page:
        page.sendall(b"GET /readyz HTTP/1.0\r\n\r\n")
        assert page.recv(100).startswith(b"HTTP/1.0 200")
    manager.process.send_signal(signal.SIGHUP)
    manager.hear("RELOADING=1")
    manager.hear("READY=1")
    with Wire(dicom.getsockname()[1]) as caller:
        caller.accepted()
        caller.release()
    assert manager.stop()[0] == 0
    waiting = Wire(dicom.getsockname()[1])
    waiting.socket.close()
    for sock in (dicom, other, http):
        sock.close()


def test_a_socket_beyond_loopback_is_not_open_to_everybody(manager):
    """`ae.bind` is loopback by default, but where systemd listens decides who may call."""
    sock = listening("0.0.0.0")
    manager.start(sys.executable, "-c", ACTIVATE, "1", str(sock.fileno()), "", pass_fds=(sock.fileno(),))
    manager.hear("READY=1")
    with Wire(sock.getsockname()[1]) as caller:
        kind, body = caller.associate()
    assert (kind, body[1:4]) == (3, b"\1\1\3")
    assert '"policy": "peers"' in manager.stop()[1]
    sock.close()


def test_ipv4_through_a_socket_for_both_is_shown_as_such(manager):
    """systemd opens sockets for IPv6 and IPv4 at once: ListenStream=104."""
    sock = socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True)
    manager.start(sys.executable, "-c", ACTIVATE, "1", str(sock.fileno()), "", pass_fds=(sock.fileno(),))
    manager.hear("READY=1")
    with Wire(sock.getsockname()[1]) as caller:
        caller.associate()
    text = manager.stop()[1]
    assert '"address": "127.0.0.1"' in text
    assert "::ffff:" not in text
    sock.close()


@pytest.mark.parametrize(("host", "status"), [("127.0.0.1", b"200"), ("::", b"401")])
def test_a_socket_for_http(manager, host, status):
    """Where it listens decides what there is without credentials, and whether it needs TLS or a proxy."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.create_server((host, 0), family=family, dualstack_ipv6=":" in host)
    port, proxy = sock.getsockname()[1], 'behind_proxy = ["127.0.0.1"]\n' if ":" in host else ""
    manager.config.write_text(manager.config.read_text() + f"[web]\nport = 8042\n{proxy}")
    manager.start(sys.executable, "-c", ACTIVATE, "1", str(sock.fileno()), "web", pass_fds=(sock.fileno(),))
    manager.hear("READY=1")
    with socket.create_connection(("127.0.0.1", port), WAIT_S) as caller:
        caller.sendall(b"GET /dicom-web/studies HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        assert caller.recv(100).split(b" ")[1] == status
    assert manager.stop()[0] == 0
    sock.close()


@pytest.mark.parametrize(
    ("name", "host", "more", "said"),
    [
        ("web", "127.0.0.1", "", "web: a socket was passed, but web.port is not set"),
        ("dicom-tls", "127.0.0.1", "", "tls: a socket was passed, but tls.certificate is not set"),
        ("web", "0.0.0.0", "[web]\nport = 8042\n", "needs web.tls or web.behind_proxy"),
    ],
)
def test_a_socket_that_nobody_may_answer_on_is_one_line(manager, name, host, more, said):
    sock = listening(host)
    manager.config.write_text(manager.config.read_text() + more)
    manager.start(sys.executable, "-c", ACTIVATE, "1", str(sock.fileno()), name, pass_fds=(sock.fileno(),))
    _, text = manager.process.communicate(timeout=WAIT_S)
    assert manager.process.returncode == 1
    assert said in text
    assert "Traceback" not in text
    sock.close()


def test_what_is_no_listening_socket_is_one_line(manager):
    ours, theirs = socket.socketpair()
    words = [sys.executable, "-c", ACTIVATE, "1", str(theirs.fileno()), ""]
    manager.start(*words, pass_fds=(theirs.fileno(),))
    _, text = manager.process.communicate(timeout=WAIT_S)
    assert (manager.process.returncode, text) == (
        1,
        "minipacs: descriptor 3 of LISTEN_FDS is no listening TCP socket\n",
    )
    ours.close()
    theirs.close()


def test_counts_are_shared_in_the_runtime_directory(manager, tmp_path):
    runtime = tmp_path / "run"
    runtime.mkdir(mode=0o700)
    manager.start(RUNTIME_DIRECTORY=str(runtime))
    manager.hear("READY=1")
    assert list((runtime / "metrics").glob("*.db"))
    assert manager.stop()[0] == 0
    assert not list(runtime.iterdir())


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a file system: run as root, as CI does")
def test_the_service_becomes_ready_with_no_more_of_proc_than_its_unit_gives(manager):
    """systemd mounts another /proc for it, see ProtectProc= and ProcSubset= in systemd.exec(5)."""
    unit = (Path(__file__).parent.parent.parent / "systemd" / "minipacs.service").read_text()
    given = dict(line.split("=", 1) for line in unit.splitlines() if line.startswith("Pro"))
    options = f"hidepid={given['ProtectProc']}" + (",subset=pid" if given.get("ProcSubset") == "pid" else "")
    mount = f'mount -t proc -o {options} proc /proc && exec "$@"'
    manager.start("unshare", "--mount", "sh", "-c", mount, "sh", sys.executable)
    manager.hear("READY=1")
