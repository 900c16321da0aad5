"""The README's first session works as it is written there."""

import re
import subprocess
import sys
from pathlib import Path

from tests.support import dcmtk
from tests.support.wire import free_port

ROOT = Path(__file__).parent.parent


def session(text: str) -> list[str]:
    """Return the lines of the session's console blocks: commands behind `$ `, and what they print."""
    part = text[text.index("While `./tools/run` is running") : text.index("## Install it")]
    return [line for block in re.findall(r"```console\n(.*?)```", part, re.DOTALL) for line in block.splitlines()]


def test_first_session(start_server, tmp_path):
    receiving = free_port()
    server = start_server(more=f'[[peer]]\ntitle = "MOVESCU"\nhost = "127.0.0.1"\nport = {receiving}')
    lines = session((ROOT / "README.md").read_text())
    script = "\n".join(line[2:] for line in lines if line.startswith("$ "))
    for shown, here in (
        ("11112", server.port),
        ("11114", receiving),
        (".venv/bin/python", sys.executable),
        (".venv/bin/minipacs", f"{sys.executable} -m minipacs"),
        ("tools/run.toml", server.config),
    ):
        assert shown in script
        script = script.replace(shown, str(here))
    done = subprocess.run(
        ["bash", "-euc", script],
        cwd=tmp_path,
        env=dcmtk.ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    printed = {line.rstrip() for line in done.stdout.replace("\0", "").splitlines()}
    promised = {line.rstrip() for line in lines if not line.startswith("$ ")} - {"...", ""}
    assert len(promised) > 10
    assert promised <= printed


def test_every_rule_that_a_test_is_named_after_is_explained():
    """`test_a2_...` stands for rule A2 of tests/README.md."""
    tests = Path(__file__).parent
    explained = set(re.findall(r"^\| ([A-Z]\d+) \|", (tests / "README.md").read_text(), re.MULTILINE))
    names = [
        name for path in tests.rglob("test_*.py") for name in re.findall(r"def test_((?:[a-z]\d+_)+)", path.read_text())
    ]
    used = {rule.upper() for name in names for rule in name.strip("_").split("_")}
    assert used == explained
