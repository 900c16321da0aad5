"""Runs real clients against the archive and says what each did: `./tools/clients/run [NAME...]`.

What docs/web.md shows of proxies and of OHIF is taken from there, so that it is tried as it is written.
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
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.support.certificates import Authority
from tests.support.objects import save, study
from tools.bench.over_http import PLUGIN, MinipacsOverHttp
from tools.bench.systems import FAST, BenchError, Process, free_port

ROOT = Path(__file__).parent.parent.parent
NODE_FOLDER = ROOT / ".venv/clients"
CLIENT_TIMEOUT_S = 180
SINK_PORT = 104
INSTANCES = 5

NGINX = """
daemon off; master_process off; pid {folder}/nginx.pid; error_log {folder}/error.log; events {{ }}
http {{
    include /etc/nginx/mime.types; access_log off;
    client_body_temp_path {folder}/b; proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f;
    uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
    server {{
        listen 127.0.0.1:{port} ssl; ssl_certificate {certificate}; ssl_certificate_key {key};
        location / {{ root {site}; try_files $uri /index.html; }}
{location}
    }}
}}
"""


class Proxied(MinipacsOverHttp):
    """An archive that believes proxies on this machine."""

    more = 'behind_proxy = ["127.0.0.1"]\n'


class Site:
    """An archive with web processes that trusts a proxy here, and what is stored in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.archive = Proxied(folder / "archive", SINK_PORT)
        self.url = f"http://127.0.0.1:{self.archive.web_port}/dicom-web"
        datasets = study(instances=INSTANCES, PatientID="CLIENT", PatientName="Client^Test")
        self.study_uid = str(datasets[0].StudyInstanceUID)
        (folder / "files").mkdir()
        self.files = [save(ds, folder / f"files/{number}.dcm") for number, ds in enumerate(datasets)]

    def store(self) -> None:
        """Have the archive hold the study, by npm's client if that has not stored it yet."""
        if f'"{self.study_uid}"' not in self.fetch("/studies"):
            library(self)

    def fetch(self, path: str) -> str:
        """Ask for JSON."""
        return self.raw(path, "application/dicom+json").decode()

    def raw(self, path: str, accept: str) -> bytes:
        """Ask for anything."""
        request = urllib.request.Request(self.url + path, headers={"Accept": accept})
        with urllib.request.urlopen(request, timeout=20) as answer:
            return bytes(answer.read())


def _run(*command: object, **more: str) -> str:
    environment = {**os.environ, "NODE_PATH": str(NODE_FOLDER / "node_modules"), **more}
    done = subprocess.run(
        list(map(str, command)), env=environment, capture_output=True, text=True, timeout=CLIENT_TIMEOUT_S, check=False
    )
    if done.returncode:
        raise BenchError(f"{Path(str(command[0])).name} failed: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout.strip()


def library(site: Site) -> str:
    """npm's dicomweb-client."""
    return _run("node", ROOT / "tools/clients/library.cjs", site.url, *site.files)


def _orthanc_asks(port: int, path: str, body: object) -> object:
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", json.dumps(body).encode(), method="POST")
    with urllib.request.urlopen(request, timeout=CLIENT_TIMEOUT_S) as answer:
        return json.loads(answer.read() or b"null")


def orthanc(site: Site) -> str:
    """Orthanc as a client: it searches here, fetches a study, and stores it again."""
    site.store()
    folder, port = site.folder / "orthanc", free_port()
    folder.mkdir()
    settings = {
        "StorageDirectory": str(folder / "data"),
        "IndexDirectory": str(folder / "data"),
        "DicomPort": free_port(),
        "HttpPort": port,
        "AuthenticationEnabled": False,
        "Plugins": [str(PLUGIN)],
        "DicomWeb": {"Enable": True, "Servers": {"minipacs": {"Url": f"{site.url}/", "HasDelete": False}}},
    }
    (folder / "orthanc.json").write_text(json.dumps(settings))
    process = Process(["Orthanc", str(folder / "orthanc.json")], folder / "log", FAST)
    try:
        process.wait_until_listening(port)
        server = "/dicom-web/servers/minipacs"
        found = _orthanc_asks(port, f"{server}/qido", {"Uri": "/studies", "Arguments": {"PatientID": "CLIENT"}})
        study_uid = found[0]["0020000D"]["Value"]  # type: ignore[index]
        _orthanc_asks(port, f"{server}/retrieve", {"Resources": [{"Study": study_uid}], "Synchronous": True})
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/instances", timeout=20) as answer:
            instances = json.loads(answer.read())
        if len(instances) != INSTANCES:
            raise BenchError(f"Orthanc fetched {len(instances)} instances of {INSTANCES}")
        told = _orthanc_asks(port, f"{server}/stow", {"Resources": instances, "Synchronous": True})
        return f"found {study_uid}, fetched {len(instances)} instances, stored them again: {json.dumps(told)}"
    finally:
        process.stop()


def _example(language: str, *swaps: tuple[str, str]) -> str:
    """Take an example out of the manual; what is swapped has to be in it."""
    found = (ROOT / "docs/web.md").read_text().partition(f"```{language}\n")[2].partition("```")[0]
    for old, new in swaps:
        if old not in found:
            raise BenchError(f"the example of {language} in docs/web.md has no {old}")
        found = found.replace(old, new)
    return found


@contextmanager
def _proxied(command: list[str], log: Path, root: str, ca: Path) -> Iterator[None]:
    import ssl

    process = Process(command, log, {**FAST, "HOME": str(log.parent), "XDG_DATA_HOME": str(log.parent)})
    context = ssl.create_default_context(cafile=str(ca))
    try:
        ends_at = time.monotonic() + 20
        while True:
            try:
                with urllib.request.urlopen(f"{root}/studies", context=context, timeout=5) as answer:
                    rows = json.loads(answer.read())
                break
            except OSError:
                if time.monotonic() > ends_at:
                    raise BenchError(f"{command[0]} does not answer: {log.read_text()[-500:]}") from None
                time.sleep(0.05)
        url = rows[0]["00081190"]["Value"][0]
        if not url.startswith(f"{root}/studies/"):
            raise BenchError(f"the address {url} is not one of the proxy's")
        yield
    finally:
        process.stop()


@contextmanager
def _nginx(site: Site) -> Iterator[str]:
    """Serve OHIF and the archive below /pacs, as the manual says."""
    folder, port = site.folder / "nginx", free_port()
    folder.mkdir()
    pair = Authority(folder / "ca").issue("proxy")
    pages = folder / "ohif"
    shutil.copytree(NODE_FOLDER / "package/dist", pages, ignore=shutil.ignore_patterns("*.map", "ort"))
    source = _example("js").strip().rstrip(",")
    (pages / "app-config.js").write_text(
        f"window.config = {{ routerBasename: null, extensions: [], modes: [], showStudyList: true,\n"
        f"defaultDataSourceName: 'minipacs', dataSources: [{source}] }};\n"
    )
    location = _example("nginx", ("127.0.0.1:8042", f"127.0.0.1:{site.archive.web_port}"))
    config = folder / "nginx.conf"
    config.write_text(
        NGINX.format(
            folder=folder, port=port, certificate=pair.certificate, key=pair.key, site=pages, location=location
        )
    )
    command = ["nginx", "-p", str(folder), "-c", str(config), "-e", str(folder / "error.log")]
    root = f"https://localhost:{port}/pacs/dicom-web"
    with _proxied(command, folder / "log", root, folder / "ca/ca.pem"):
        yield f"https://127.0.0.1:{port}"


def ohif(site: Site) -> str:
    """OHIF behind nginx, in Chromium: its list of studies, and a study."""
    site.store()
    shots = Path(tempfile.gettempdir()) / "minipacs-ohif"
    shots.mkdir(exist_ok=True)
    with _nginx(site) as root:
        told = _run("node", ROOT / "tools/clients/viewer.cjs", root, site.study_uid, shots)
    return f"{told}\nscreenshots in {shots}"


def caddy(site: Site) -> str:
    """Caddy as the manual says, with a certificate of its own authority instead of a public one."""
    site.store()
    folder, port = site.folder / "caddy", free_port()
    folder.mkdir()
    example = _example(
        "caddy",
        ("pacs.example {", f"https://localhost:{port} {{\n    tls internal"),
        ("127.0.0.1:8042", f"127.0.0.1:{site.archive.web_port}"),
    )
    (folder / "Caddyfile").write_text(
        f"{{\n    admin off\n    http_port {free_port()}\n    skip_install_trust\n}}\n{example}"
    )
    command = ["caddy", "run", "--config", str(folder / "Caddyfile"), "--adapter", "caddyfile"]
    root = f"https://localhost:{port}/pacs/dicom-web"
    authority = folder / "caddy/pki/authorities/local/root.crt"
    ends_at = time.monotonic() + 20
    with ExitStack() as stack:
        first = Process(command, folder / "first.log", {**FAST, "HOME": str(folder), "XDG_DATA_HOME": str(folder)})
        stack.callback(first.stop)
        while not authority.exists():
            if time.monotonic() > ends_at:
                raise BenchError(f"caddy has made no authority: {(folder / 'first.log').read_text()[-500:]}")
            time.sleep(0.05)
    with _proxied(command, folder / "log", root, authority):
        return f"{root}: addresses in answers are those of the proxy"


def weasis(site: Site) -> str:
    """What Weasis asks: the program itself is not needed for it."""
    site.store()
    parts = 'multipart/related;type="application/dicom";transfer-syntax=*'
    (found,) = json.loads(site.fetch("/studies?&includefield=00080020,00080030,00081030&PatientID=CLIENT"))
    uid = found["0020000D"]["Value"][0]
    (series,) = json.loads(site.fetch(f"/studies/{uid}/series?includefield=00201209"))
    series_uid = series["0020000E"]["Value"][0]
    if series["00201209"]["Value"] != [INSTANCES] or len(json.loads(site.fetch(f"/series?0020000E={series_uid}"))) != 1:
        raise BenchError("the series is not told as it is")
    path, names = f"/studies/{uid}/series/{series_uid}", "includefield=00080016,00080018,00200013"
    pages = [json.loads(site.fetch(f"{path}/instances?{names}&offset={n}&limit=2")) for n in range(0, 8, 2)]
    if [len(page) for page in pages] != [2, 2, 1, 0]:
        raise BenchError("pages of instances are not what they should be")
    if site.raw(path, parts).count(b"DICM") != INSTANCES:
        raise BenchError("not all instances of the series came")
    instance = f"{path}/instances/{pages[0][0]['00080018']['Value'][0]}"
    for where in (f"/studies/{uid}", path, instance):
        if not site.raw(f"{where}/thumbnail?viewport=128%2C128", "image/jpeg").startswith(b"\xff\xd8"):
            raise BenchError(f"the thumbnail of {where} is no picture")
    return f"listed, paged and fetched {INSTANCES} instances, with thumbnails"


def slicer(site: Site) -> str:
    """What the DICOM module of 3D Slicer does by its library, PyPI's dicomweb-client."""
    from dicomweb_client import DICOMwebClient

    site.store()
    client = DICOMwebClient(site.url)
    client.set_http_retry_params(False)
    (series,) = client.search_for_series(site.study_uid, fields=["SeriesNumber"], get_remaining=True)
    series_uid = series["0020000E"]["Value"][0]
    metadata = client.retrieve_series_metadata(site.study_uid, series_uid)
    fetched = list(client.iter_series(site.study_uid, series_uid))
    if not len(metadata) == len(fetched) == INSTANCES:
        raise BenchError(f"{len(metadata)} metadata and {len(fetched)} instances came of {INSTANCES}")
    shown = {ds.pixel_array.shape for ds in fetched}
    return f"fetched {len(fetched)} instances of {shown}"


CLIENTS: dict[str, Callable[[Site], str]] = {
    "npm": library,
    "orthanc": orthanc,
    "weasis": weasis,
    "slicer": slicer,
    "ohif": ohif,
    "caddy": caddy,
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="tools/clients/run", description=__doc__)
    parser.add_argument("client", nargs="*", help=f"{', '.join(CLIENTS)} (all)")
    names = parser.parse_args().client or list(CLIENTS)
    if unknown := set(names) - CLIENTS.keys():
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    failures = 0
    with tempfile.TemporaryDirectory(prefix="minipacs-clients-") as name:
        site = Site(Path(name))
        try:
            for client in names:
                try:
                    print(f"{client}: {CLIENTS[client](site)}")
                except (BenchError, OSError, subprocess.TimeoutExpired) as error:
                    failures += 1
                    print(f"{client}: FAILED: {error}")
        finally:
            site.archive.stop()
    return int(failures > 0)


if __name__ == "__main__":
    sys.exit(main())
