import shutil
import subprocess
from pathlib import Path

UNIT = Path(__file__).parent.parent / "systemd/minipacs.service"


def test_the_unit_is_valid(tmp_path):
    text = UNIT.read_text()
    assert "\nExecStart=/opt/minipacs/bin/minipacs serve --config /etc/minipacs/minipacs.toml\n" in text
    unit = tmp_path / UNIT.name
    unit.write_text(text.replace("/opt/minipacs/bin/minipacs", shutil.which("true")))
    result = subprocess.run(
        ["systemd-analyze", "verify", unit], capture_output=True, text=True, timeout=60, check=False
    )
    assert (result.returncode, result.stdout + result.stderr) == (0, "")
