"""The units, as far as they can be checked without a systemd that runs."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent.parent / "systemd"
SERVICES = ["minipacs.service", "minipacs-verify.service"]
COMMAND = "/opt/minipacs/bin/minipacs"
MAX_EXPOSURE = 1.5


def analyze(*arguments: object) -> str:
    done = subprocess.run(
        ["systemd-analyze", *map(str, arguments)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_the_units_are_valid(tmp_path):
    units = [path for path in FOLDER.iterdir() if path.suffix in (".service", ".socket", ".timer")]
    assert sorted(path.name for path in units) == [
        "minipacs-hl7.socket",
        "minipacs-tls.socket",
        "minipacs-verify.service",
        "minipacs-verify.timer",
        "minipacs-web.socket",
        "minipacs.service",
        "minipacs.socket",
    ]
    for path in units:
        (tmp_path / path.name).write_text(path.read_text().replace(COMMAND, str(shutil.which("true"))))
    assert analyze("verify", *tmp_path.iterdir()) == ""


@pytest.mark.parametrize("name", SERVICES)
def test_the_services_are_hardened(name):
    found = re.search(r"exposure level for \S+: ([0-9.]+)", analyze("security", "--offline=yes", FOLDER / name))
    assert found
    assert float(found[1]) <= MAX_EXPOSURE


@pytest.mark.parametrize("name", SERVICES)
def test_the_services_have_no_capability(name):
    settings = (FOLDER / name).read_text().splitlines()
    assert "CapabilityBoundingSet=" in settings
    assert "NoNewPrivileges=yes" in settings


def test_the_service_tells_how_it_does_and_is_not_started_again_for_a_faulty_configuration():
    settings = (FOLDER / "minipacs.service").read_text().splitlines()
    for setting in ("Type=notify", "WatchdogSec=60", "RestartPreventExitStatus=2", "StateDirectory=minipacs"):
        assert setting in settings
    assert f"ExecStart={COMMAND} serve --config /etc/minipacs/minipacs.toml" in settings


def test_the_user_and_the_folders_are_declared():
    users = (FOLDER / "minipacs.sysusers").read_text()
    assert re.search(r"^u\s+minipacs\s+-\s+\"", users, re.MULTILINE)
    rows = [line.split() for line in (FOLDER / "minipacs.tmpfiles").read_text().splitlines() if line[0] != "#"]
    assert {row[1] for row in rows} == {"/etc/minipacs", "/var/lib/minipacs"}
    done = subprocess.run(
        ["systemd-sysusers", "--dry-run", str(FOLDER / "minipacs.sysusers")],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_a_reload_checks_the_configuration_first():
    """The first command that fails makes the reload fail (systemd.service(5))."""
    settings = (FOLDER / "minipacs.service").read_text().splitlines()
    assert [line for line in settings if line.startswith("ExecReload=")] == [
        f"ExecReload={COMMAND} check --settings --config /etc/minipacs/minipacs.toml",
        "ExecReload=/bin/kill -HUP $MAINPID",
    ]
