"""The commands of docs/security.md work as they are written there."""

import re
import subprocess
from pathlib import Path

from minipacs.config.schema import SECTIONS
from minipacs.config.settings import settings_of
from tests.support import dcmtk
from tests.support import server as commands
from tests.support.site import accounts, tls_port

PAGE = (Path(__file__).parent.parent / "docs/security.md").read_text()
ARCHIVE = "10.0.0.2 2762"


def blocks(kind: str) -> list[str]:
    return re.findall(rf"```{kind}\n(.*?)```", PAGE, re.DOTALL)


def run(lines: list[str], folder: Path) -> str:
    script = "\n".join(line.removeprefix("$ ") for line in lines)
    done = subprocess.run(
        ["bash", "-euc", script],
        cwd=folder,
        env=dcmtk.ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_certificates_are_made_and_used_as_it_says(start_server, tmp_path: Path):
    lines = [line for block in blocks("console") for line in block.replace("10.0.0.2\\n", "127.0.0.1\\n").splitlines()]
    tries = [line for line in lines if "2762" in line]
    run([line for line in lines if line not in tries], tmp_path)
    [more] = blocks("toml")
    more = more.replace("/etc/minipacs", str(tmp_path)).replace("[tls]", "[tls]\nport = 0")
    server = start_server(more=more, ae='title = "ARCHIVE"')
    port = tls_port(server)
    script = "\n".join(tries).replace(ARCHIVE, f"127.0.0.1 {port}").replace("10.0.0.2:2762", f"127.0.0.1:{port}")
    assert len(tries) == 2
    assert "Verify return code: 0 (ok)" in run(script.splitlines(), tmp_path)
    found = commands.run("check", config=server.config).stdout
    assert not re.search("^(fault|warn) .*(tls|TLS)", found, re.MULTILINE), found
    [revoke] = re.findall(r"`(openssl ca [^`]* -revoke [^`]*)`", PAGE)
    run([revoke, *[line for line in lines if "-gencrl" in line]], tmp_path)
    server.reload()
    [echo] = [line for line in script.splitlines() if "echoscu" in line]
    done = subprocess.run(
        ["bash", "-euc", echo.removeprefix("$ ").replace(str(port), str(tls_port(server)))],
        cwd=tmp_path, env=dcmtk.ENVIRONMENT, capture_output=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode
    assert accounts(server, "certificate revoked")


def test_every_setting_that_it_names_is_one():
    known = {f"{name}.{key}" for name, section in SECTIONS.items() for key in settings_of(section)}
    named = set(re.findall(r"`([a-z]+\.[a-z_]+)(?: = [^`]*)?`", PAGE))
    assert {name for name in named if name.split(".")[0] in SECTIONS} <= known
    assert len(named) > 15
