import os
import subprocess
import sys
from pathlib import Path

import pytest

SETUP = Path(__file__).parent.parent / "tools/setup.sh"

FAKE_PYTHON = """#!/bin/sh
echo "$@" >>calls
case "$*" in
    "-m venv "*) mkdir -p .venv/bin && cp "$0" .venv/bin/python ;;
    *install*) test ! -e offline ;;
esac
"""


@pytest.fixture
def project(tmp_path):
    for name in ("setup.cfg", "pyproject.toml"):
        (tmp_path / name).write_text(name)
    fakes = {"python": FAKE_PYTHON, "bad-python": "#!/bin/sh\nexit 1\n", "id": "#!/bin/sh\necho 1000\n"}
    (tmp_path / "fakes").mkdir()
    for name, text in fakes.items():
        (tmp_path / "fakes" / name).write_text(text)
        (tmp_path / "fakes" / name).chmod(0o755)
    return tmp_path


@pytest.mark.parametrize(
    "name", ["power_cut", "crash", "faults", "fuzz", "soak", "pixel_matrix", "collectors", "foreign_tls"]
)
def test_tools_say_how_they_are_used(name):
    tool = SETUP.parent / f"{name}.py"
    shown = subprocess.run([sys.executable, tool, "--help"], capture_output=True, text=True, timeout=60, check=True)
    assert f"tools/{name}.py [" in shown.stdout


def test_the_reliability_page_names_every_tool_of_attack():
    page = (SETUP.parent.parent / "docs/reliability.md").read_text()
    for name in ("power_cut", "crash", "faults", "fuzz", "soak", "pixel_matrix"):
        assert f".venv/bin/python tools/{name}.py" in page


def run(project, script, python="python"):
    """Run a script over tools/setup.sh as if not root; give its exit status, what it said, and the calls of python."""
    (project / "calls").write_text("")
    path = f"{project / 'fakes'}:{os.environ['PATH']}"
    result = subprocess.run(
        ["bash", "-c", f"set -euo pipefail; . {SETUP}; {script}"],
        cwd=project,
        env={"PATH": path, "PYTHON": str(project / "fakes" / python)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    calls = [line for line in (project / "calls").read_text().splitlines() if not line.startswith("-c ")]
    return result.returncode, result.stderr, calls


def test_missing_debian_packages_are_named_in_one_command(project):
    status, said, _ = run(project, "need_packages bash=bash no-such-command=dcmtk nor-this=orthanc")
    assert status == 2
    assert said == "Missing Debian packages; install them with: sudo apt-get install dcmtk orthanc\n"


def test_nothing_is_done_for_packages_that_are_there(project):
    assert run(project, "need_packages bash=bash") == (0, "", [])


def test_the_environment_is_made_once_and_installed_into_again_when_the_project_changes(project):
    status, said, calls = run(project, "need_venv test")
    assert (status, said) == (0, "Installing minipacs[test] into .venv\n")
    assert calls[0] == "-m venv --clear .venv"
    assert calls[1].endswith("--editable .[test]")
    assert run(project, "need_venv test") == (0, "", [])
    (project / "setup.cfg").write_text("changed")
    assert [call.split()[:3] for call in run(project, "need_venv test")[2]] == [
        ["-m", "pip", "--version"],
        ["-m", "pip", "install"],
    ]


def test_an_installation_that_failed_is_tried_again(project):
    (project / "offline").touch()
    assert run(project, "need_venv")[0] == 1
    (project / "offline").unlink()
    assert run(project, "need_venv")[2][-1].endswith("--editable .")


def test_without_a_usable_python_its_packages_are_named(project):
    # Debian's python3 without python3-venv has no ensurepip; the versioned names are not tried when one is named.
    status, said, _ = run(project, "need_venv", python="bad-python")
    assert (status, said) == (
        2,
        "Missing Debian packages; install them with: sudo apt-get install python3 python3-venv\n",
    )


def test_an_activated_environment_does_not_hide_programs(project):
    """pynetdicom brings a storescu of its own into the environment."""
    for folder in ("active/bin", ".venv/bin"):
        (project / folder).mkdir(parents=True)
        (project / folder / "some-tool").write_text("#!/bin/sh\n")
        (project / folder / "some-tool").chmod(0o755)
    activate = "export VIRTUAL_ENV=$PWD/active PATH=$PWD/active/bin:$PWD/.venv/bin:$PATH; command -v some-tool >&2; "
    status, said, _ = run(
        project, f"{activate} leave_environment; bash --version >/dev/null; need_packages some-tool=p"
    )
    assert (status, said.splitlines()[1:]) == (
        2,
        ["Missing Debian packages; install them with: sudo apt-get install p"],
    )


def test_promtool_comes_without_a_prometheus_that_runs(project):
    (project / ".venv/bin").mkdir(parents=True)
    (project / "usr/bin").mkdir(parents=True)
    (project / "usr/bin/promtool").write_text("the tool")
    subprocess.run(["tar", "-cf", "package.tar", "./usr/bin/promtool"], cwd=project, check=True)
    fakes = {
        "apt-get": f"#!/bin/sh\ncp {project}/package.tar prometheus_2_amd64.deb\n",
        "dpkg-deb": '#!/bin/sh\ncat "$2"\n',
    }
    for name, text in fakes.items():
        (project / "fakes" / name).write_text(text)
        (project / "fakes" / name).chmod(0o755)
    hidden = 'command() { [ "$2" != promtool ] && builtin command "$@"; }; '
    assert run(project, f"{hidden} need_program promtool prometheus ./usr/bin/promtool")[0] == 0
    assert (project / ".venv/bin/promtool").read_text() == "the tool"
    (project / "fakes" / "apt-get").write_text("#!/bin/sh\nexit 1\n")
    assert run(project, f"{hidden} need_program promtool prometheus ./usr/bin/promtool")[:2] == (0, ""), "it is there"
    (project / ".venv/bin/promtool").unlink()
    status, said, _ = run(project, f"{hidden} need_program promtool prometheus ./usr/bin/promtool")
    assert (status, said.splitlines()[-1]) == (
        2,
        "promtool is needed; install it with: sudo apt-get install prometheus",
    )


def test_a_collector_is_unpacked_and_not_installed(project):
    (project / ".venv").mkdir()
    fakes = {
        "apt-get": """#!/bin/sh
for word; do case $word in Dir::Cache::archives=*) touch "${word#*=}/a.deb" ;; esac; done
""",
        "dpkg-deb": '#!/bin/sh\nmkdir -p "$3/usr/sbin" && cp "$0" "$3/usr/sbin/some-collector"\n',
    }
    for name, text in fakes.items():
        (project / "fakes" / name).write_text(text)
        (project / "fakes" / name).chmod(0o755)
    needed = "need_unpacked some-collector some-package its-modules"
    assert run(project, needed)[:2] == (0, "Unpacking Debian packages: some-package its-modules\n")
    assert (project / ".venv/debian/usr/sbin/some-collector").exists()
    assert run(project, needed) == (0, "", [])
    (project / "fakes" / "apt-get").write_text("#!/bin/sh\nexit 1\n")
    status, said, _ = run(project, "need_unpacked other-collector other-package")
    assert (status, said.splitlines()[-1]) == (
        2,
        "other-collector is needed; install it with: sudo apt-get install other-package",
    )
