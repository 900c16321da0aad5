import errno
import json
import os
import pty
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from minipacs.daemon import checking
from minipacs.tree import objects
from tests.support import dcmtk
from tests.support.objects import ct, data_set_of, save, save_all, study
from tests.support.sender import Sender
from tests.support.server import MINIPACS, Server, run
from tests.support.storing import incoming, published, quarantined, rows
from tests.support.terminal import read_all


@pytest.fixture
def config(tmp_path):
    return configure(tmp_path)


def configure(folder, storage="", more=""):
    path = folder / "minipacs.toml"
    path.write_text(f'[storage]\npath = "data"\nmin_free_bytes = 0\n{storage}\n{more}\n')
    return path


def failed(done, status, *words):
    """Hold a failure to its exit status and to clear lines without a traceback."""
    assert done.returncode == status, done.stderr
    assert "Traceback" not in done.stderr
    for word in words:
        assert word in done.stderr
    return done.stderr.splitlines()


def import_json(config, *arguments, check=True):
    return json.loads(run("import", "--json", *arguments, config=config, check=check).stdout)


def test_import_of_files_folders_and_archives(config, tmp_path):
    objects = study(patients=2, instances=3)
    files = save_all(objects[:4], tmp_path / "in")
    (tmp_path / "in" / "README").write_text("not an object " * 20)
    disc = tmp_path / "disc.zip"
    with zipfile.ZipFile(disc, "w") as archive:
        for i, ds in enumerate(objects[3:]):
            archive.write(save(ds, tmp_path / "zipped" / f"{i}.dcm"), f"{i}.dcm")
    done = run("import", tmp_path / "in", disc, config=config, check=False)
    lines = failed(done, 1)
    assert done.stdout == "6 stored, 1 already present, 1 refused\n"
    assert lines == [f"refused: {tmp_path}/in/README: not a DICOM file: no DICM after the preamble"]
    stored = {data_set_of(path) for path in published(tmp_path / "data")}
    assert {data_set_of(path) for path in files} < stored
    assert len(stored) == 6
    assert all(path.exists() for path in files)
    assert run("import", tmp_path / "zipped", config=config).stdout == "0 stored, 3 already present, 0 refused\n"


def test_import_as_json(config, tmp_path):
    save(ct(), tmp_path / "in" / "a.dcm")
    bad = Path(os.fsdecode(os.fsencode(tmp_path) + b"/in/\xff\x1b[2J.dcm"))
    bad.write_bytes(b"x" * 200)
    found = import_json(config, tmp_path / "in", check=False)
    assert (found["stored"], found["already_present"]) == (1, 0)
    assert found["refused"] == {str(bad): "not a DICOM file: no DICM after the preamble"}


def test_names_of_files_cannot_act_on_a_terminal(config, tmp_path):
    bad = tmp_path / "\x1b[2Jevil\u202e.dcm"
    bad.write_bytes(b"x" * 200)
    (line,) = failed(run("import", bad, config=config, check=False), 1)
    assert line.startswith(f"refused: {tmp_path}/\\x1b[2Jevil\\u202e.dcm: ")


@pytest.mark.parametrize("sync", ["always", "batch"])
def test_import_move_removes_what_is_stored_and_nothing_else(tmp_path, sync):
    config = configure(tmp_path, f'sync = "{sync}"\nduplicates = "keep"')
    kept = ct(PatientName="First")
    run("import", save(kept, tmp_path / "first.dcm"), config=config)
    kept.PatientName = "Second"
    files = {
        "new": save(ct(), tmp_path / "new.dcm"),
        "same": tmp_path / "first.dcm",
        "other": save(kept, tmp_path / "second.dcm"),
        "bad": tmp_path / "bad.dcm",
        "whole.zip": tmp_path / "whole.zip",
        "part.zip": tmp_path / "part.zip",
    }
    files["bad"].write_bytes(b"no object")
    with zipfile.ZipFile(files["whole.zip"], "w") as whole, zipfile.ZipFile(files["part.zip"], "w") as part:
        part.writestr("README", "no object")
        for archive in (whole, part):
            archive.write(save(ct(), tmp_path / "zipped.dcm"), "zipped.dcm")
    done = run("import", "--move", *files.values(), config=config, check=False)
    failed(done, 1, "refused: ", "bad.dcm: ", "part.zip:README: ")
    assert done.stdout == "3 stored, 2 already present, 2 refused\n"
    assert {name for name, path in files.items() if path.exists()} == {"other", "bad", "part.zip"}
    assert set(rows(tmp_path / "data").values()) == {"ONLINE"}
    assert len(published(tmp_path / "data")) == 4
    assert list(quarantined(tmp_path / "data").values()) == ["another file was first"]


def test_import_move_keeps_the_sources_when_the_disk_does_not_take_what_was_stored(tmp_path, monkeypatch):
    def failing(fd):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    config = configure(tmp_path, 'sync = "batch"')
    sources = save_all(study(instances=3), tmp_path / "in")
    monkeypatch.setattr(objects, "sync_file_system", failing)
    done = run("import", "--move", tmp_path / "in", config=config, check=False)
    assert (done.returncode, done.stdout) == (1, "3 stored, 0 already present, 0 refused\n")
    assert [line for line in done.stderr.splitlines() if "files not synced" not in line] == [
        f"not removed: {path}: Input/output error" for path in sorted(sources)
    ]
    assert all(path.exists() for path in sources)


@pytest.mark.parametrize("sync", ["always", "batch"])
@pytest.mark.parametrize("duplicates", ["replace", "keep", "reject"])
@pytest.mark.parametrize("damage", ["rot", "cut", "gone", "marked"])
def test_import_move_over_a_damaged_file_lets_the_good_copy_win(tmp_path, sync, duplicates, damage):
    config = configure(tmp_path, f'sync = "{sync}"\nduplicates = "{duplicates}"')
    source = save(ct(), tmp_path / "good.dcm")
    run("import", source, config=config)
    (stored,) = published(tmp_path / "data")
    good = stored.read_bytes()
    stored.chmod(0o600)
    if damage == "gone":
        stored.unlink()
    else:
        stored.write_bytes(good[:-1] + b"x" if damage in ("rot", "marked") else good[:-100])
    if damage == "marked":
        run("verify", "--repair", config=config, check=False)
    done = run("import", "--move", source, config=config)
    assert not source.exists()
    assert stored.read_bytes() == good, done.stdout
    assert rows(tmp_path / "data") == {stored.stem: "ONLINE"}
    assert run("verify", config=config).returncode == 0


def test_import_move_never_removes_the_archives_own_files(config, tmp_path):
    run("import", save(ct(), tmp_path / "a.dcm"), config=config)
    before = published(tmp_path / "data")
    failed(run("import", "--move", tmp_path / "data", config=config, check=False), 1, "lies in the storage folder")
    assert published(tmp_path / "data") == before


def test_import_beside_a_running_daemon(server, tmp_path):
    objects = study(instances=5)
    save_all(objects, tmp_path / "in")
    with Sender(server.port) as sender:
        assert sender.store(objects[0]).status == 0
        assert run("import", tmp_path / "in", config=server.config).stdout == "4 stored, 1 already present, 0 refused\n"
        found = dcmtk.client("findscu", server.port, "-S", "-k", "QueryRetrieveLevel=IMAGE", "-k", "SOPInstanceUID")
        assert all(str(ds.SOPInstanceUID) in found.stdout for ds in objects)
        assert [sender.store(ds).status for ds in objects] == [0] * 5
    assert rows(server.data) == {path.stem: "ONLINE" for path in published(server.data)}
    assert not incoming(server.data)


def test_progress_is_shown_on_a_terminal_only(config, tmp_path):
    path = save(ct(), tmp_path / "a.dcm")
    assert run("import", path, config=config).stderr == ""
    ours, theirs = pty.openpty()
    with subprocess.Popen([*MINIPACS, "import", "--config", config, path], stdout=subprocess.PIPE, stderr=theirs) as p:
        os.close(theirs)
        shown = read_all(ours)
        assert p.wait(30) == 0
    assert b"importing" in shown


def test_what_cannot_be_imported_at_all_is_a_usage_error(config, tmp_path):
    failed(run("import", tmp_path / "nothing", config=config, check=False), 2, "does not exist")
    failed(run("import", config=config, check=False), 2, "Missing argument")


def test_stats(config, tmp_path):
    (line,) = failed(run("stats", config=config, check=False), 1)
    assert line == f"minipacs: there is no archive in {tmp_path}/data yet"
    files = save_all([*study(patients=2, series=2, instances=2), *study(Modality="MR")], tmp_path / "in")
    run("import", *files, config=config)
    found = json.loads(run("stats", "--json", config=config).stdout)
    size = sum(path.stat().st_size for path in published(tmp_path / "data"))
    assert found.pop("free_bytes") > 0
    assert found == {
        "patients": 2,
        "studies": 3,
        "series": 5,
        "instances": 9,
        "stored_bytes": size,
        "quarantined_files": 0,
        "conflicts": 0,
        "instances_by_modality": {"CT": 8, "MR": 1},
    }
    table = run("stats", config=config).stdout
    assert re.search(r"^instances +9$", table, re.MULTILINE)
    assert re.search(r"^instances of CT +8$", table, re.MULTILINE)


def test_echo(server, tmp_path):
    peers = {"ARCHIVE": server.port, "DOWN": 1, "ANYWHERE": None}
    more = "".join(
        f'[[peer]]\ntitle = "{title}"\n' + (f'host = "127.0.0.1"\nport = {port}\n' if port else "")
        for title, port in peers.items()
    )
    config = configure(tmp_path, more=more)
    found = run("echo", "ARCHIVE", config=config).stdout
    assert re.fullmatch(rf"ARCHIVE at 127.0.0.1 port {server.port} answered in \d+ ms\n", found)
    server.wait_for(lambda line: line["event"] == "C-ECHO" and line["calling"] == "MINIPACS")
    for peer, words in (
        ("DOWN", "DOWN at 127.0.0.1 port 1: cannot connect: Connection refused"),
        ("ANYWHERE", "has no host to call"),
        ("NOBODY", "no [[peer]] is called 'NOBODY'; configured: ARCHIVE, DOWN, ANYWHERE"),
    ):
        (line,) = failed(run("echo", peer, config=config, check=False), 1, words)
        assert line.startswith("minipacs: ")


def test_echo_to_a_peer_that_refuses_us(start_server, tmp_path):
    server = start_server(more='[access]\npolicy = "peers"\n')
    config = configure(tmp_path, more=f'[[peer]]\ntitle = "A"\nhost = "127.0.0.1"\nport = {server.port}\n')
    (line,) = failed(run("echo", "A", config=config, check=False), 1)
    assert line.startswith(
        f"minipacs: A at 127.0.0.1 port {server.port}: rejected: calling AE title not recognized (1/1/3)"
    )


def test_check(config, tmp_path):
    found = run("check", config=config).stdout.splitlines()
    assert found[0] == f"ok     configuration {config}"
    assert found[1] == f"ok     storage folder {tmp_path}/data (not there yet)"
    run("import", save(ct(), tmp_path / "a.dcm"), config=config)
    found = run("check", config=config).stdout.splitlines()
    assert [line.split()[1] for line in found] == ["configuration", "storage", "free", "index"]
    assert all(line.startswith("ok ") for line in found)


def test_check_finds_what_is_wrong(tmp_path):
    config = configure(tmp_path)
    run("import", save(ct(), tmp_path / "a.dcm"), config=config)
    config.write_text(config.read_text().replace("min_free_bytes = 0", f"min_free_bytes = {1 << 60}"))
    done = run("check", config=config, check=False)
    failed(done, 1)
    assert re.search(r"^fault  free space \d+ bytes: storage.min_free_bytes is \d+$", done.stdout, re.MULTILINE)
    (tmp_path / "data" / "index.db").write_bytes(b"no database " * 1000)
    done = run("check", config=config, check=False)
    failed(done, 1)
    assert re.search(r"^fault  index .*index.db cannot be used: ", done.stdout, re.MULTILINE)


def test_check_show_prints_what_is_in_force(config, tmp_path):
    shown = run("check", "--show", config=config).stdout
    assert f'path = "{tmp_path}/data"' in shown
    assert 'policy = "open"' in shown
    again = tmp_path / "again.toml"
    again.write_text(shown)
    assert run("check", "--show", config=again).stdout.splitlines()[1:] == shown.splitlines()[1:]


def test_a_wrong_configuration_is_one_line_for_each_fault(config):
    config.write_text('[ae]\nport = "x"\n[storage]\npaht = "x"\n[foo]\n')
    for command in (["serve"], ["import", "/dev/null"]):
        lines = failed(run(*command, config=config, check=False), 2, "ae.port", "storage.paht", "foo")
        assert len(lines) == 3
        assert all(line.startswith("minipacs: ") for line in lines)
    config.write_text("not toml")
    (line,) = failed(run("check", config=config, check=False), 2)
    assert re.fullmatch(r"minipacs: /.*: must be TOML: .*", line)
    (line,) = failed(run("check", config=config.parent / "none.toml", check=False), 2)
    assert "cannot be read: No such file" in line


def test_serve_options_override_the_configuration(tmp_path):
    config = configure(
        tmp_path, more='[ae]\ntitle = "OTHER"\nport = 1\ncheck_called_title = true\n[metrics]\nport = 0\n'
    )
    options = ["--data", str(tmp_path / "elsewhere"), "--bind", "127.0.0.2", "--port", "0", "--ae-title", "MINE"]
    command = [*MINIPACS, "serve", "--config", str(config), *options]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        ready = next(line for line in process.stderr if " ready " in line)
        port = re.search(r"dicom=127\.0\.0\.2:(\d+)", ready)[1]
        assert dcmtk.run("echoscu", "-aec", "MINE", "127.0.0.2", port).returncode == 0
        assert dcmtk.run("echoscu", "-aec", "OTHER", "127.0.0.2", port, check=False).returncode != 0
        process.terminate()
        assert "stopped" in process.stderr.read()
        assert process.wait(20) == 0
    assert (tmp_path / "elsewhere" / "objects").is_dir()
    assert not (tmp_path / "data").exists()


def test_serve_says_in_one_line_why_it_cannot_start(server, tmp_path):
    def serve(*options, config=server.config):
        (line,) = failed(run("serve", *options, config=config, check=False), 1)
        return line

    assert serve() == f"minipacs: {server.data} is in use by another minipacs daemon (pid {server.process.pid})"
    taken = f"minipacs: cannot listen on 127.0.0.1 port {server.port}: Address already in use"
    assert serve("--port", server.port, "--data", tmp_path / "x") == taken
    (tmp_path / "file").write_text("")
    assert serve("--data", tmp_path / "file" / "x").startswith("minipacs: cannot use the storage folder")
    failed(run("serve", "--port", 99999, config=server.config, check=False), 2, "ae.port = 99999")
    failed(run("serve", "--ae-title", "A TITLE THAT IS TOO LONG", config=server.config, check=False), 2, "ae.title")


def test_help_and_version(tmp_path):
    for words in (["-h"], ["serve", "--help"]):
        assert run(*words).stdout.startswith("Usage: ")
    assert re.fullmatch(r"minipacs, version \S+\n", run("--version").stdout)
    failed(run("nonsense", check=False), 2, "No such command")


def test_the_log_of_a_server_has_one_line_for_each_operation(start_server):
    server: Server = start_server()
    with Sender(server.port) as sender:
        assert [sender.store(ds).status for ds in study(instances=3)] == [0] * 3
        sender.release()
    server.wait_for(lambda line: line["event"] == "association ended")
    told = [line["event"] for line in server.lines if line["level"] != "debug"]
    assert told == ["archive is new and empty", "ready", *["C-STORE"] * 3, "association ended"]
    assert server.stop() == 0
    assert [line["event"] for line in server.lines[-2:]] == ["stopping", "stopped"]


def test_check_warns_of_what_may_be_meant_so(tmp_path, monkeypatch):
    more = '[[peer]]\ntitle = "GONE"\nhost = "no-such-host.invalid"\n[[peer]]\ntitle = "HERE"\nhost = "localhost"\n'
    config = configure(tmp_path, more=f"[ae]\nport = 104\n{more}")
    monkeypatch.setattr(checking, "_listened_on", set)
    done = run("check", config=config)
    warned = [line for line in done.stdout.splitlines() if line.startswith("warn ")]
    assert len(warned) == 2
    assert re.search(r"dicom port 104: .* systemctl enable --now minipacs.socket", warned[0])
    assert re.search(r"peer GONE at no-such-host.invalid: the name has no address: ", warned[1])
    assert "ok     peer HERE at localhost" in done.stdout
    monkeypatch.setattr(checking, "_listened_on", lambda: {104})
    assert "ok     dicom port 104" in run("check", config=config).stdout


def test_check_of_the_settings_alone_is_what_a_reload_needs(tmp_path):
    config = configure(tmp_path)
    run("import", save(ct(), tmp_path / "a.dcm"), config=config)
    (tmp_path / "data" / "index.db").write_bytes(b"no database " * 1000)
    assert run("check", "--settings", config=config).stdout == f"ok     configuration {config}\n"
    config.write_text("[ae]\nport = -1\n")
    failed(run("check", "--settings", config=config, check=False), 2, "ae.port")


def test_what_a_simple_command_needs_is_all_that_is_imported():
    code = "import sys\nfrom minipacs.cli import main\ntry:\n main(['--version'])\nfinally:\n print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    loaded = set(done.stdout.split())
    assert "click" in loaded
    assert not loaded & {"pydicom", "pynetdicom", "numpy", "peewee", "sqlite3", "prometheus_client"}
