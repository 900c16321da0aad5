"""`minipacs import`: what it takes, what it skips, how it is stopped, what it shows."""

import fcntl
import json
import os
import pty
import signal
import struct
import subprocess
import termios
from pathlib import Path

import pytest
from pydicom.uid import generate_uid

from minipacs.archive.media import importing
from minipacs.cli.commands import objects
from minipacs.cli.tables import width_of
from minipacs.dicom.tables.transfer_syntaxes import EXPLICIT_VR_BIG_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN
from tests.support.objects import ct, data_set_of, encode, save, save_all, study
from tests.support.other_user import NOBODY, run_as
from tests.support.server import MINIPACS, run
from tests.support.storing import incoming, published
from tests.support.terminal import read_all
from tests.support.wire import EXPLICIT


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "minipacs.toml"
    path.write_text('[storage]\npath = "data"\nmin_free_bytes = 0\n')
    return path


def counts(config: Path, *arguments: object) -> dict:
    return json.loads(run("import", "--json", *arguments, config=config, check=False).stdout)


def test_a_dicomdir_is_skipped(config, tmp_path):
    files = save_all(study(instances=2), tmp_path / "in")
    run("import", *files, config=config)
    run("export", "--to", tmp_path / "disc", "--dicomdir", "PatientID=*", config=config)
    assert (tmp_path / "disc" / "DICOMDIR").exists()
    done = run("import", tmp_path / "disc", config=config)
    assert done.stdout == "0 stored, 2 already present, 0 refused, 1 skipped\n"
    assert done.stderr == ""


@pytest.mark.parametrize("syntax", [IMPLICIT_VR_LITTLE_ENDIAN, EXPLICIT, EXPLICIT_VR_BIG_ENDIAN])
def test_a_bare_data_set_is_taken_when_that_is_asked_for(config, tmp_path, syntax):
    data = encode(ct(), syntax)
    bare = tmp_path / "bare"
    bare.write_bytes(data)
    assert "not a DICOM file" in counts(config, bare)["refused"][str(bare)]
    assert counts(config, "--lenient", bare)["stored"] == 1
    [stored] = published(tmp_path / "data")
    assert stored.read_bytes().endswith(data)


@pytest.mark.parametrize("left_out", [128, 132])
def test_a_file_without_preamble_is_taken_when_that_is_asked_for(config, tmp_path, left_out):
    whole = save(ct(), tmp_path / "whole.dcm").read_bytes()
    short = tmp_path / "short.dcm"
    short.write_bytes(whole[left_out:])
    assert "not a DICOM file" in counts(config, short)["refused"][str(short)]
    assert counts(config, "--lenient", short)["stored"] == 1
    assert counts(config, tmp_path / "whole.dcm")["already_present"] == 1


def test_file_meta_that_does_not_fit_is_corrected_when_that_is_asked_for(config, tmp_path):
    ds = ct()
    good = save(ds, tmp_path / "good.dcm").read_bytes()
    uid = str(ds.SOPInstanceUID).encode()
    other = str(generate_uid()).encode().ljust(len(uid), b"1")[: len(uid)]
    wrong = tmp_path / "wrong.dcm"
    wrong.write_bytes(good.replace(uid, other, 1))
    assert counts(config, wrong)["stored"] == 0
    assert counts(config, "--lenient", wrong)["stored"] == 1
    assert counts(config, tmp_path / "good.dcm")["already_present"] == 1


def test_what_is_no_sound_data_set_is_refused_all_the_same(config, tmp_path):
    cut = tmp_path / "cut"
    cut.write_bytes(encode(ct())[:-20])
    text = tmp_path / "text"
    text.write_text("this is no object " * 100)
    found = counts(config, "--lenient", cut, text)
    assert found["stored"] == 0
    assert set(found["refused"]) == {str(cut), str(text)}
    assert not published(tmp_path / "data")
    assert not incoming(tmp_path / "data")


def test_links_out_of_a_folder_are_not_followed(config, tmp_path):
    secret = save(ct(), tmp_path / "elsewhere" / "secret.dcm")
    inside = save(ct(), tmp_path / "in" / "a.dcm")
    (tmp_path / "in" / "out.dcm").symlink_to(secret)
    (tmp_path / "in" / "same.dcm").symlink_to(inside)
    found = counts(config, tmp_path / "in")
    assert (found["stored"], found["already_present"]) == (1, 1)
    assert found["refused"] == {str(tmp_path / "in" / "out.dcm"): "a link out of the folder"}


def test_ctrl_c_ends_between_two_objects_and_what_was_done_is_told(config, tmp_path, monkeypatch):
    files = save_all(study(instances=5), tmp_path / "in")
    seen: list[str] = []

    def interrupted(*arguments: object, **options: object) -> object:
        found = importing.import_source(*arguments, **options)
        seen.append(found.source.name)
        if len(seen) == 2:
            os.kill(os.getpid(), signal.SIGINT)
        return found

    monkeypatch.setattr(objects, "import_source", interrupted)
    before = signal.getsignal(signal.SIGINT)
    done = run("import", *files, config=config, check=False)
    assert (done.returncode, done.stdout) == (1, "stopped: 2 stored, 0 already present, 0 refused\n")
    assert signal.getsignal(signal.SIGINT) is before
    assert len(published(tmp_path / "data")) == 2
    assert run("import", *files, config=config).stdout == "3 stored, 2 already present, 0 refused\n"


def test_progress_is_one_line_of_80_columns_with_the_total(config, tmp_path):
    folder = tmp_path / ("a folder with a long name " * 4) / "山田"
    save_all(study(instances=30), folder)
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    with subprocess.Popen(
        [*MINIPACS, "import", "--config", config, tmp_path], stdin=theirs, stdout=theirs, stderr=theirs
    ) as process:
        os.close(theirs)
        shown = read_all(ours)
        process.wait(30)
    text = shown.decode()
    assert "/31" in text, "30 objects and the configuration"
    lines = [line for part in text.split("\n") for line in part.replace("\x1b[?25l", "").split("\r")]
    plain = [line.replace("\x1b[K", "").replace("\x1b[2K", "").replace("\x1b[?25h", "") for line in lines]
    bars = [line for line in plain if "importing" in line]
    assert bars
    assert max(map(width_of, bars)) <= 80


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become another user: run as root, as CI does")
def test_what_the_archives_owner_may_not_read_is_a_line_that_says_who_that_is(open_to_all):
    """Root calls, and the command becomes the owner of the storage folder."""
    tmp_path = open_to_all
    data = tmp_path / "data"
    data.mkdir()
    os.chown(data, NOBODY, NOBODY)
    config = tmp_path / "minipacs.toml"
    config.write_text(f'[storage]\npath = "{data}"\nmin_free_bytes = 0\n')
    closed = tmp_path / "closed"
    save(ct(), closed / "a.dcm")
    secret = save(ct(), tmp_path / "secret.dcm")
    secret.chmod(0o600)
    closed.chmod(0o700)
    done = run_as(0, config, "import", closed, secret, closed / "a.dcm")
    assert done.returncode == 1
    assert done.stdout == "0 stored, 0 already present, 3 refused\n"
    assert [line.split(": ")[-1] for line in done.stderr.splitlines()] == ["Permission denied (as the user nobody)"] * 3
    assert run_as(0, config, "import", save(ct(), tmp_path / "open.dcm")).returncode == 0
    for command in ("find", "stats", "check"):
        (data / "index.db").chmod(0)
        done = run_as(0, config, command)
        (data / "index.db").chmod(0o600)
        assert done.returncode == 1
        assert "Traceback" not in done.stderr
        assert "ermission denied" in done.stdout + done.stderr or "unable to open" in done.stdout + done.stderr
    data.chmod(0o700)
    other = run_as(NOBODY - 1, config, "stats")
    assert other.returncode == 1, other.stderr
    assert "Permission denied (as the user 65533)" in other.stderr
    assert len(other.stderr.splitlines()) == 1


def test_data_sets_are_unchanged(config, tmp_path):
    path = save(ct(), tmp_path / "a.dcm")
    counts(config, "--lenient", path)
    [stored] = published(tmp_path / "data")
    assert data_set_of(stored) == data_set_of(path)
