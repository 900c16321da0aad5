"""nginx before an archive, as docs/web.md says: with TLS, below the prefix /pacs."""

import shutil
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.built import ROOT
from tests.support.certificates import Authority
from tests.support.wire import free_port

CONFIG = """
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{port} ssl;
        ssl_certificate {certificate};
        ssl_certificate_key {key};
{location}
    }}
}}
"""
"""Around the location of docs/web.md."""
FOLDERS = f"{Path(sys.executable).parent}:/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin"
START_TIMEOUT_S = 20


@dataclass(frozen=True)
class Proxied:
    """Where the archive is behind nginx, and who signed the certificate of that."""

    host: str
    authority: Path

    @property
    def url(self) -> str:
        """The address of the page."""
        return f"https://{self.host}/pacs/"


@contextmanager
def proxied(folder: Path, web_port: int) -> Iterator[Proxied]:
    """Serve what answers at a port behind nginx, which keeps its files in a folder."""
    authority = Authority(folder / "ca")
    pair, port = authority.issue("proxy"), free_port()
    config = folder / "nginx.conf"
    files = {"certificate": pair.certificate, "key": pair.key}
    config.write_text(CONFIG.format(folder=folder, port=port, location=_location(web_port), **files))
    program = shutil.which("nginx", path=FOLDERS)
    assert program, "nginx is needed: tools/test takes it out of its package"
    process = subprocess.Popen([program, "-p", str(folder), "-c", str(config), "-e", str(folder / "error.log")])
    found = Proxied(f"127.0.0.1:{port}", authority.certificate)
    try:
        ends_at = time.monotonic() + START_TIMEOUT_S
        while not _answers(found):
            assert process.poll() is None
            assert time.monotonic() < ends_at, (folder / "error.log").read_text()
        yield found
    finally:
        process.terminate()
        process.wait(START_TIMEOUT_S)


def _location(web_port: int) -> str:
    """Take the example out of the manual, with our port in it."""
    found = (ROOT / "docs/web.md").read_text().partition("```nginx\n")[2].partition("```")[0]
    assert "127.0.0.1:8042" in found
    return found.replace("127.0.0.1:8042", f"127.0.0.1:{web_port}")


def _answers(site: Proxied) -> bool:
    context = ssl.create_default_context(cafile=str(site.authority))
    try:
        return bool(urllib.request.urlopen(f"{site.url}api/v1/session", context=context, timeout=10).status == 200)
    except urllib.error.HTTPError:
        raise
    except OSError:
        return False
