"""Lets other programs than dcmtk speak TLS with the archive, both ways: dcm4che, dcmjs-dimse and Orthanc.

Needs Java, Node.js with npm, and Orthanc, which are taken as installed (Debian: default-jre-headless npm orthanc).
dcm4che's findscu and getscu come with PyPI's dcmfetch, dcmjs-dimse with npm; both are put into var/foreign.

    .venv/bin/python tools/foreign_tls.py [--only PROGRAM]
Each row tells what was tried, and ok or what went wrong; the exit status is 1 if one did.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))
from minipacs.net.identity import users
from tests.support.certificates import Pair
from tests.support.objects import data_set_of, save_all, study
from tests.support.retriever import move
from tests.support.sender import Sender
from tests.support.server import Server, run
from tests.support.site import Site, accounts, peer_lines, tls_port
from tests.support.wire import free_port

HERE = Path(__file__).parent.parent
FOREIGN = HERE / "var/foreign"
SECRET = "secret"  # of key stores, whose format demands one
ROWS, INSTANCES = 512, 20
TIMEOUT_S = 120
SHOWN_CHARACTERS = 30
TOLD_CHARACTERS = 600
SUITES = {"TLSv1.2": ("RSA", "ECDSA"), "TLSv1.3": ("",)}
USERS = {"right": True, "wrong": False}


def call(*command: object, check: bool = True, **how: object) -> subprocess.CompletedProcess[str]:
    """Run a program to its end."""
    words = [str(word) for word in command]
    done = subprocess.run(words, capture_output=True, text=True, timeout=TIMEOUT_S, check=False, **how)  # type: ignore[call-overload]
    assert not check or done.returncode == 0, f"{words[0]}: {done.stdout[-800:]}{done.stderr[-800:]}"
    return done  # type: ignore[no-any-return]


class Bench:
    """An archive with TLS that has a study, and what the others need to call it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.site = Site(folder / "site")
        self.orthanc_port, self.node_port = free_port(), free_port()
        peers = peer_lines("ORTHANC", self.orthanc_port, 'certificate = "CN=CT1"')
        peers += peer_lines("NODE", self.node_port, 'certificate = "CN=CT2"')
        peers += '[[peer]]\ntitle = "OTHERS"\ncertificate = "CN=CT2"\n'
        self.server = Server(folder / "archive", more=f'{self.site.lines()}\n[access]\nidentity = "check"\n{peers}')
        users.add(self.server.data / "users", "anna", b"right", ["echo", "store", "find", "retrieve"])
        self.port = tls_port(self.server)
        self.study = study(instances=INSTANCES, rows=ROWS)
        self.uid = str(self.study[0].StudyInstanceUID)
        with Sender(self.server.port) as sender:
            assert {sender.store(ds).status for ds in self.study} == {0}
        self.sent = sorted(data_set_of(path) for path in save_all(self.study, folder / "sent"))

    def new_folder(self, name: str) -> Path:
        """Make an empty folder."""
        return Path(tempfile.mkdtemp(prefix=f"{name}-", dir=self.folder))

    def refused(self, reason: str) -> None:
        """Assert that the archive has told of a refusal."""
        assert accounts(self.server, reason), reason

    def close(self) -> None:
        """Stop the archive, whose log must have no traceback."""
        self.server.stop()
        self.server.no_traceback()


Case = tuple[str, Callable[[], None]]


@dataclass(frozen=True)
class Dcm4che:
    """findscu and getscu of dcm4che, on Java's TLS."""

    bench: Bench
    folder: Path

    @classmethod
    def of(cls, bench: Bench) -> "Dcm4che":
        if not (FOREIGN / "dcmfetch").exists():
            call(sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", FOREIGN, "dcmfetch")
        trust = bench.folder / "trust.p12"
        call("keytool", "-importcert", "-noprompt", "-file", bench.site.ca.certificate, "-keystore", trust,
             "-storetype", "PKCS12", "-storepass", SECRET)  # fmt: skip
        return cls(bench, FOREIGN / "dcmfetch/ext")

    def cases(self) -> Iterator[Case]:
        site = self.bench.site
        for version, kinds in SUITES.items():
            for kind in kinds:
                suite = f"TLS_ECDHE_{kind}_WITH_AES_128_GCM_SHA256" if kind else "TLS_AES_256_GCM_SHA384"
                if kind != "ECDSA":  # our own certificate is of RSA
                    for pair in (site.ct1, site.ct2):
                        name = f"{version} {suite}, {pair.certificate.stem}"
                        yield f"find, {name}", lambda s=suite, v=version, p=pair: self.find(s, v, p)
                        yield f"get, {name}", lambda s=suite, v=version, p=pair: self.get(s, v, p)
        for pair, reason in bad(site):
            reason = reason if pair else "self-signed certificate"  # without a key store it shows one of its own
            yield f"refused: {reason}", lambda p=pair, r=reason: self.is_refused(p, r)
        for passcode, is_right in USERS.items():
            yield f"user, {passcode} passcode", lambda p=passcode, r=is_right: self.signs_in(p, is_right=r)

    def run(self, tool: str, suite: str, version: str, pair: Pair | None, *more: object, check: bool = True):
        options: list[object] = ["-c", f"MINIPACS@127.0.0.1:{self.bench.port}", "--tls-cipher", suite]
        options += ["--tls-protocol", version, "--trust-store", self.bench.folder / "trust.p12"]
        options += ["--trust-store-type", "PKCS12", "--trust-store-pass", SECRET]
        if pair is not None:
            store = pair.certificate.with_suffix(".p12")
            call("openssl", "pkcs12", "-export", "-in", pair.certificate, "-inkey", pair.key, "-out", store,
                 "-passout", f"pass:{SECRET}")  # fmt: skip
            options += ["--key-store", store, "--key-store-type", "PKCS12", "--key-store-pass", SECRET]
        return call("sh", self.folder / tool, *options, *more, check=check)

    def find(self, suite: str, version: str, pair: Pair) -> None:
        done = self.run("findscu", suite, version, pair, "-m", "PatientID=P1", "-r", "StudyInstanceUID")
        assert self.shown in done.stdout, done.stdout[-300:]

    @property
    def shown(self) -> str:
        """What findscu prints of the UID: lines are cut."""
        return self.bench.uid[:SHOWN_CHARACTERS]

    def get(self, suite: str, version: str, pair: Pair) -> None:
        out = self.bench.new_folder("got")
        self.run("getscu", suite, version, pair, "-m", f"StudyInstanceUID={self.bench.uid}", "--directory", out)
        assert sorted(data_set_of(path) for path in out.iterdir()) == self.bench.sent

    def is_refused(self, pair: Pair | None, reason: str) -> None:
        done = self.run("findscu", "TLS_AES_256_GCM_SHA384", "TLSv1.3", pair, "-m", "PatientID=P1", check=False)
        assert self.shown not in done.stdout
        self.bench.refused(reason)

    def signs_in(self, passcode: str, *, is_right: bool) -> None:
        user = ["--user", "anna", "--user-pass", passcode, "--user-rsp", "-m", "PatientID=P1", "-r", "StudyInstanceUID"]
        done = self.run("findscu", "TLS_AES_256_GCM_SHA384", "TLSv1.3", self.bench.site.ct1, *user, check=False)
        assert (self.shown in done.stdout) == is_right, done.stdout[-300:]
        assert is_right or "A-ASSOCIATE-RJ[result: 1 - rejected-permanent, source: 2" in done.stdout, done.stdout[-800:]


def bad(site: Site) -> list[tuple[Pair | None, str]]:
    """List certificates that are no good, with what the archive says of them."""
    return [
        (None, "the peer shows no certificate"),
        (site.stranger, "unable to get (local )?issuer"),
        (site.expired, "certificate has expired"),
        (site.revoked, "certificate revoked"),
    ]


class Dcmjs:
    """dcmjs-dimse, on Node.js."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        if not (FOREIGN / "node_modules/dcmjs-dimse").exists():
            call("npm", "install", "--silent", "--no-fund", "--no-audit", "--prefix", FOREIGN, "dcmjs-dimse")

    def cases(self) -> Iterator[Case]:
        site = self.bench.site
        for version in SUITES:
            for pair in (site.ct1, site.ct2):
                for what in ("echo", "find", "get", "store"):
                    name = f"{what}, {version}, {pair.certificate.stem}"
                    yield name, lambda w=what, p=pair, v=version: self.does(w, p, v)
        yield "move to it", self.takes
        for pair, reason in bad(site):
            yield f"refused: {reason}", lambda p=pair, r=reason: self.is_refused(p, r)
        for passcode, is_right in USERS.items():
            yield f"user, {passcode} passcode", lambda p=passcode, r=is_right: self.signs_in(p, is_right=r)

    def run(self, what: str, pair: Pair | None, version: str = "TLSv1.3", **more: object) -> dict[str, object]:
        """Let it do something, and return what it says of it."""
        return json.loads(call(*self.command(what, pair, version, **more), env=self.environment()).stdout)  # type: ignore[no-any-return]

    def command(self, what: str, pair: Pair | None, version: str = "TLSv1.3", **more: object) -> list[object]:
        bench = self.bench
        files = {} if pair is None else {"key": str(pair.key), "cert": str(pair.certificate)}
        order = {"what": what, "port": bench.port, "ca": str(bench.site.ca.certificate), "version": version, **files}
        order |= {"study": bench.uid, "files": [str(path) for path in (bench.folder / "sent").iterdir()], **more}
        return ["node", HERE / "tools/foreign_tls.js", json.dumps(order)]

    def environment(self) -> dict[str, str]:
        return {**os.environ, "NODE_PATH": str(FOREIGN / "node_modules")}

    def does(self, what: str, pair: Pair, version: str) -> None:
        told = self.run(what, pair, version)
        assert told["statuses"], told
        assert set(told["statuses"]) <= {0, 0xFF00}, told  # type: ignore[call-overload]
        if what == "find":
            assert told["studies"] == [self.bench.uid], told
        if what == "get":
            assert told["pixels"] == self.pixels(), "not the pixels that were sent"

    def pixels(self) -> list[str]:
        return sorted(b64encode(ds.PixelData).decode() for ds in self.bench.study)

    def takes(self) -> None:
        command = self.command("serve", self.bench.site.ct2, listen=self.bench.node_port)
        words = [str(word) for word in command]
        with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=self.environment()) as process:
            try:
                assert process.stdout is not None
                assert process.stdout.readline() == "listening\n"
                result = move(self.bench.server.port, "STUDY", "NODE", study=self.bench.uid)
                assert (result.final.status, result.counts) == (0, (INSTANCES, 0, 0)), result.final.comment
                got = sorted(process.stdout.readline().strip() for _ in range(INSTANCES))
                assert got == self.pixels(), "not the pixels that were sent"
            finally:
                process.kill()

    def is_refused(self, pair: Pair | None, reason: str) -> None:
        told = self.run("echo", pair)
        assert told["faults"], told
        self.bench.refused(reason)

    def signs_in(self, passcode: str, *, is_right: bool) -> None:
        told = self.run("echo", self.bench.site.ct1, user="anna", passcode=passcode)
        assert (told["statuses"] == [0]) == is_right, told
        assert is_right or "rejected 1 2 1" in told["faults"], told  # type: ignore[operator]


class Orthanc:
    """Orthanc, which shows the certificate of CT1 as SCU and as SCP."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.http_port = free_port()

    def cases(self) -> Iterator[Case]:
        yield "it echoes", lambda: self.post("modalities/us/echo", {})
        yield "we echo", self.echoes
        yield "we send to it", self.takes
        yield "it sends to us", self.gives
        yield "it asks us to send to it", self.fetches
        yield "we ask in vain where the certificate is another's", self.impostor

    @contextmanager
    def running(self) -> Iterator[None]:
        bench, pair, folder = self.bench, self.bench.site.ct1, self.bench.folder / "orthanc"
        folder.mkdir()
        us = {"AET": "MINIPACS", "Host": "127.0.0.1", "Port": bench.port, "UseDicomTls": True}
        settings = {
            "StorageDirectory": str(folder), "IndexDirectory": str(folder), "HttpPort": self.http_port,
            "DicomAet": "ORTHANC", "DicomPort": bench.orthanc_port, "DicomAlwaysAllowStore": True,
            "DicomTlsEnabled": True, "DicomTlsCertificate": str(pair.certificate), "DicomTlsPrivateKey": str(pair.key),
            "DicomTlsTrustedCertificates": str(bench.site.ca.certificate), "DicomTlsRemoteCertificateRequired": True,
            "DicomModalities": {"us": us}, "AuthenticationEnabled": False, "RemoteAccessAllowed": False,
        }  # fmt: skip
        (folder / "orthanc.json").write_text(json.dumps(settings))
        with (
            (folder / "log").open("wb") as log,
            subprocess.Popen([orthanc(), str(folder / "orthanc.json")], stdout=log, stderr=log) as process,
        ):
            try:
                self.wait_until_up()
                yield
            finally:
                process.terminate()

    def wait_until_up(self) -> None:
        deadline = time.monotonic() + TIMEOUT_S
        while True:
            try:
                self.ask("system")
            except OSError:
                assert time.monotonic() < deadline, "did not start"
                time.sleep(0.1)
            else:
                return

    def ask(self, path: str, body: object = None) -> bytes:
        data = None if body is None else json.dumps(body).encode()
        with urllib.request.urlopen(f"http://127.0.0.1:{self.http_port}/{path}", data, TIMEOUT_S) as answer:
            return answer.read()  # type: ignore[no-any-return]

    def post(self, path: str, body: object) -> object:
        return json.loads(self.ask(path, body))

    def echoes(self) -> None:
        assert "answered" in run("echo", "ORTHANC", config=self.bench.server.config).stdout

    def takes(self) -> None:
        result = move(self.bench.server.port, "STUDY", "ORTHANC", study=self.bench.uid)
        assert (result.final.status, result.counts) == (0, (INSTANCES, 0, 0)), result.final.comment
        self.has_all()

    def has_all(self) -> None:
        out = self.bench.new_folder("orthanc-got")
        for number, found in enumerate(json.loads(self.ask("instances"))):
            (out / str(number)).write_bytes(self.ask(f"instances/{found}/file"))
        assert sorted(data_set_of(path) for path in out.iterdir()) == self.bench.sent

    def gives(self) -> None:
        run("delete", "--yes", f"StudyInstanceUID={self.bench.uid}", config=self.bench.server.config)
        (study_id,) = json.loads(self.ask("studies"))
        told = self.post("modalities/us/store", study_id)
        assert told["FailedInstancesCount"] == 0, told  # type: ignore[index]
        assert sorted(map(data_set_of, self.bench.server.objects())) == self.bench.sent

    def fetches(self) -> None:
        (study_id,) = json.loads(self.ask("studies"))
        request = urllib.request.Request(f"http://127.0.0.1:{self.http_port}/studies/{study_id}", method="DELETE")
        urllib.request.urlopen(request, timeout=TIMEOUT_S).close()
        query = self.post("modalities/us/query", {"Level": "Study", "Query": {"StudyInstanceUID": self.bench.uid}})
        self.ask(f"queries/{query['ID']}/answers/0/retrieve", {"TargetAet": "ORTHANC", "Synchronous": True})  # type: ignore[index]
        self.has_all()

    def impostor(self) -> None:
        config = self.bench.folder / "impostor.toml"
        config.write_text(self.bench.site.lines() + peer_lines("X", self.bench.orthanc_port, 'certificate = "CN=CT2"'))
        done = run("echo", "X", config=config, check=False)
        assert done.returncode == 1
        assert "the certificate is not CN=CT2: CN=CT1" in done.stderr


def orthanc() -> str:
    """Return its program, which Debian puts where only root looks."""
    return shutil.which("Orthanc", path=os.environ["PATH"] + ":/usr/sbin") or "Orthanc"


def attempt(program: str, name: str, case: Callable[[], None]) -> bool:
    """Try a case and print its row; tells whether it went wrong."""
    began = time.monotonic()
    try:
        case()
        told = "ok"
    except (AssertionError, OSError, EOFError, ValueError, subprocess.TimeoutExpired) as error:
        told = f"FAILED: {error!r:.{TOLD_CHARACTERS}}"
    print(f"| {program} | {name} | {told} | {time.monotonic() - began:.1f} s |", flush=True)
    return told != "ok"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=["dcm4che", "dcmjs", "orthanc"], help="try one of them")
    only = parser.parse_args().only
    failed = 0
    with tempfile.TemporaryDirectory(prefix="minipacs-foreign-") as name:
        bench = Bench(Path(name))
        try:
            if only in (None, "dcm4che"):
                failed += sum(attempt("dcm4che", *case) for case in Dcm4che.of(bench).cases())
            if only in (None, "dcmjs"):
                failed += sum(attempt("dcmjs", *case) for case in Dcmjs(bench).cases())
            if only in (None, "orthanc"):
                party = Orthanc(bench)
                with party.running():
                    failed += sum(attempt("orthanc", *case) for case in party.cases())
        finally:
            bench.close()
    print(f"{failed} failed" if failed else "all of it works")
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())
