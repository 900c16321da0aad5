import re
import runpy
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minipacs import config
from minipacs.config import reading
from minipacs.config.schema import REPEATED, SECTIONS
from minipacs.config.settings import field_of, settings_of
from minipacs.errors import ConfigError

ROOT = Path(__file__).parent.parent


@pytest.fixture(autouse=True)
def no_file_of_this_machine(monkeypatch, tmp_path):
    monkeypatch.delenv("MINIPACS_CONFIG", raising=False)
    monkeypatch.setattr(reading, "SYSTEM_FILE", tmp_path / "etc" / "minipacs.toml")


@pytest.fixture
def load(tmp_path):
    def load(text: str, **overrides: object) -> config.Config:
        path = tmp_path / "minipacs.toml"
        path.write_text(text)
        return config.load(path, {key.replace("__", "."): value for key, value in overrides.items()})

    return load


@pytest.fixture
def faults_of(load):
    def faults_of(text: str, **overrides: object) -> tuple[str, ...]:
        with pytest.raises(ConfigError) as caught:
            load(text, **overrides)
        return caught.value.faults

    return faults_of


def test_defaults_need_no_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    defaults = config.load(None)
    assert defaults.ae == config.AeConfig()
    assert (defaults.ae.title, defaults.ae.bind, defaults.ae.port, defaults.ae.workers) == (
        "MINIPACS",
        ("127.0.0.1",),
        11112,
        0,
    )
    assert defaults.storage.path == tmp_path / "var"
    assert defaults.index_path == tmp_path / "var" / "index.db"
    assert defaults.peers == ()
    assert defaults.source is None


def test_values_are_read(load, tmp_path):
    loaded = load(
        """
        [ae]
        title = " CT ARCHIVE "
        bind = ["127.0.0.1", "0:0::1"]
        max_pdu_bytes = 0
        [timeouts]
        idle = 1.5
        connect = 3
        [storage]
        path = "data"
        sop_classes = ["1.3.12.2.1107.5.9.1"]
        [index]
        url = "sqlite:///fast/index.db"
        [[peer]]
        title = "A"
        [[peer]]
        title = "B"
        host = "10.0.0.0/24"
        allow = []
        charset = '\\ISO 2022 IR 87'
        [metrics]
        bind = ""
        """
    )
    assert loaded.ae.title == "CT ARCHIVE"
    assert loaded.ae.bind == ("127.0.0.1", "::1")
    assert loaded.ae.max_pdu_bytes == 0
    assert (loaded.timeouts.idle, loaded.timeouts.connect, loaded.timeouts.acse) == (1.5, 3.0, 30.0)
    assert loaded.storage.path == tmp_path / "data"
    assert loaded.storage.sop_classes == ("1.3.12.2.1107.5.9.1",)
    assert loaded.index_path == tmp_path / "fast" / "index.db"
    assert [peer.title for peer in loaded.peers] == ["A", "B"]
    assert loaded.peers[0].allow == ("echo", "store", "find", "retrieve", "worklist", "mpps", "commit")
    assert loaded.peers[1].allow == ()
    assert loaded.metrics.bind == ""


def test_every_fault_is_reported_at_once(faults_of):
    faults = faults_of(
        """
        [ae]
        title = "seventeen letters"
        prot = 104
        [aee]
        [timeouts]
        idle = 0
        [[peer]]
        host = "10.0.0.300"
        """,
        ae__port=70000,
    )
    assert [fault.split(":")[0].split(" ")[0] for fault in faults] == [
        "aee",
        "ae.prot",
        "ae.title",
        "ae.port",
        "timeouts.idle",
        "peer[1].title",
        "peer[1].host",
    ]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("[ae]\nprot = 1", "ae.prot: is unknown; did you mean ae.port?"),
        ("port = 1", "port: is unknown; did you mean ae.port?"),
        ("[storge]", "storge: is unknown; did you mean storage?"),
        ("[timeouts]\ndrain = 0", "timeouts.drain = 0: must be seconds above 0, at most 604800"),
        ("[ae]\nport = 65536", "ae.port = 65536: must be a whole number from 0 to 65535"),
        ("[ae]\nport = true", "ae.port = true: must be a whole number from 0 to 65535"),
        ("[ae]\nport = 104.0", "ae.port = 104: must be a whole number from 0 to 65535"),
        ("[ae]\nworkers = 65", "ae.workers = 65: must be a whole number from 0 to 64"),
        ("[log]\nidentifiers = 0", "log.identifiers = 0: must be true or false"),
        ("[log]\nlevel = 'loud'", 'log.level = "loud": must be "debug", "info", "warning" or "error"'),
        ("ae = 7", "ae = 7: must be a section, [ae]"),
        ("[peer]\ntitle = 'A'", "peer: must be written [[peer]], once for each"),
        ("peer = [1]", "peer[1] = 1: must be a section, [peer[1]]"),
        (
            "[[peer]]\ntitle = 'A'\n[[peer]]\ntitle = ' A'",
            'peer[2].title = "A": must be unique, but peer[1] has it',
        ),
        (
            "[metrics]\nport = 11112",
            "metrics.port = 11112: must differ from ae.port on the same address",
        ),
    ],
)
def test_a_fault_names_the_key_and_what_is_allowed(faults_of, text, fault):
    assert fault in faults_of(text)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("ae.title", ""),
        ("ae.title", "   "),
        ("ae.title", "A\\B"),
        ("ae.title", "Ä"),
        ("ae.title", "A\tB"),
        ("ae.title", "A" * 17),
        ("ae.bind", ""),
        ("ae.bind", []),
        ("ae.bind", ["127.0.0.1", "127.0.0.1"]),
        ("ae.bind", "localhost"),
        ("ae.bind", ["127.0.0.1", 5]),
        ("ae.max_associations", 0),
        ("ae.max_pdu_bytes", 4095),
        ("ae.max_pdu_bytes", False),
        ("ae.max_pdu_bytes", 1 << 32),
        ("timeouts.acse", float("inf")),
        ("timeouts.acse", float("nan")),
        ("timeouts.acse", 0),
        ("timeouts.acse", -1.0),
        ("timeouts.acse", True),
        ("timeouts.acse", "30"),
        ("storage.path", ""),
        ("storage.path", "a\0b"),
        ("storage.path", 5),
        ("storage.sync", "never"),
        ("storage.min_free_bytes", -1),
        ("storage.sop_classes", "1.2.3"),
        ("storage.sop_classes", ["1.2.3", "1.2.3"]),
        ("storage.sop_classes", ["1.2.03"]),
        ("storage.sop_classes", ["1." + "2" * 63]),
        ("index.url", "postgresql://db/minipacs"),
        ("index.url", "sqlite:///"),
        ("access.policy", "closed"),
        ("peer.host", "10.0.0.5/24"),
        ("peer.host", "-a.example"),
        ("peer.host", "a b"),
        ("peer.port", 0),
        ("peer.allow", ["print"]),
        ("peer.allow", ["echo", "echo"]),
        ("peer.allow", [["echo"]]),
        ("peer.charset", ""),
        ("peer.charset", "latin1"),
        ("metrics.bind", "here"),
    ],
)
def test_impossible_values_are_refused(key, value):
    section, _, name = key.partition(".")
    with pytest.raises((ValueError, TypeError)):
        settings_of(SECTIONS[section])[name].kind.parse(value)


json_like = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.dates(),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(), children, max_size=3),
    max_leaves=5,
)
keys = st.sampled_from([f"{name}.{key}" for name, section in SECTIONS.items() for key in settings_of(section)])


@given(st.dictionaries(keys | st.text(), json_like, max_size=4))
def test_whatever_is_given_ends_in_a_configuration_or_in_one_line_a_fault(overrides):
    faults: tuple[str, ...] = ()
    shown = ""
    try:
        shown = config.show(config.load(None, overrides))
    except ConfigError as error:
        faults = error.faults
    assert tomllib.loads(shown) or faults
    assert all(fault.isprintable() and len(fault) < 400 for fault in faults)


@pytest.mark.parametrize("text", [b"[ae", b"[ae]\ntitle = '\xff'", b"a = " + b"[" * 100_000, b"#" * 2_000_000])
def test_a_file_that_is_not_toml_is_one_fault(tmp_path, text):
    path = tmp_path / "minipacs.toml"
    path.write_bytes(text)
    with pytest.raises(ConfigError) as caught:
        config.load(path)
    [fault] = caught.value.faults
    assert fault.startswith(f"{str(path)[:40]}")
    assert fault.isprintable()


def test_a_file_that_cannot_be_read_is_one_fault(tmp_path):
    for path in (tmp_path / "missing.toml", tmp_path, Path("a\0b")):
        with pytest.raises(ConfigError, match="cannot be read"):
            config.load(path)


def test_the_file_is_the_one_named_then_the_environment_then_the_system(tmp_path, monkeypatch):
    assert config.resolve(None) is None
    reading.SYSTEM_FILE.parent.mkdir()
    reading.SYSTEM_FILE.touch()
    assert config.resolve(None) == reading.SYSTEM_FILE
    monkeypatch.setenv("MINIPACS_CONFIG", "")
    assert config.resolve(None) == reading.SYSTEM_FILE
    monkeypatch.setenv("MINIPACS_CONFIG", "elsewhere.toml")
    assert config.resolve(None) == Path("elsewhere.toml")
    assert config.resolve(Path("named.toml")) == Path("named.toml")


def test_overrides_win_and_none_stands_for_not_given(load):
    text = "[ae]\nport = 1\ntitle = 'FILE'"
    assert load(text, ae__port=2, ae__title=None, ae__bind="::1").ae == config.AeConfig(
        port=2, title="FILE", bind=("::1",)
    )


def test_a_relative_path_starts_at_the_file_but_that_of_an_override_at_the_current_folder(load, tmp_path, monkeypatch):
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    assert load("[storage]\npath = 'data'").storage.path == tmp_path / "data"
    assert load("[storage]\npath = '/srv/x'").storage.path == Path("/srv/x")
    assert load("[storage]\npath = 'data'", storage__path="data").storage.path == here / "data"


@pytest.mark.parametrize(
    ("text", "policy"),
    [
        ("", "open"),
        ("[ae]\nbind = ['127.0.0.1', '::1']", "open"),
        ("[ae]\nbind = ['127.0.0.1', '10.0.0.1']", "peers"),
        ("[ae]\nbind = '0.0.0.0'", "peers"),
        ("[ae]\nbind = '0.0.0.0'\n[access]\npolicy = 'open'", "open"),
        ("[access]\npolicy = 'peers'", "peers"),
    ],
)
def test_the_archive_is_open_on_loopback_only(load, text, policy):
    assert load(text).policy() == policy


@pytest.mark.parametrize(
    ("host", "destination"),
    [("", None), ("10.0.0.0/24", None), ("10.0.0.1", ("10.0.0.1", 104)), ("ct1.example", ("ct1.example", 104))],
)
def test_a_peer_without_an_address_is_no_destination(host, destination):
    assert config.PeerConfig("A", host=host).destination == destination


def test_show_reads_back_as_the_same_configuration(load):
    first = load(
        "[ae]\nbind = '::'\n[storage]\npath = 'a \"b\" \\\\ ü'\n[index]\nurl = 'sqlite:///i.db'\n"
        "[timeouts]\nacse = 0.25\n[[peer]]\ntitle = 'A'\n[[peer]]\ntitle = 'B'\nallow = ['echo']"
    )
    second = load(config.show(first))
    assert second == replace(first, access=config.AccessConfig(policy="peers"))


def test_the_sample_is_valid_as_it_is_and_with_every_line_in_force(load):
    sample = config.sample()
    assert load(sample).ae == config.AeConfig()
    in_force = re.sub(r"^#(?! )", "", sample, flags=re.MULTILINE)
    loaded = load(in_force)
    assert [peer.title for peer in loaded.peers] == ["WORKSTATION"]
    given = tomllib.loads(in_force)
    for name, section in SECTIONS.items():
        table = given[name][0] if name in REPEATED else given[name]
        assert list(table) == list(settings_of(section))


def test_generated_files_are_up_to_date():
    generated = runpy.run_path(str(ROOT / "tools/generate.py"))["generated"]()
    for path, text in generated.items():
        assert path.read_text() == text, f"{path} is out of date: run .venv/bin/python tools/generate.py"


def test_each_setting_is_read_somewhere():
    """Outside the package that reads the file: a setting that nobody asks for does nothing."""
    folder = Path(config.__file__).parent
    code = "\n".join(p.read_text() for p in folder.parent.rglob("*.py") if folder not in p.parents)
    own = (folder / "schema.py").read_text()
    for name, section in SECTIONS.items():
        for key in settings_of(section):
            read = re.compile(rf"\.{field_of(key)}\b")
            assert read.search(code) or re.search(rf"self\.(\w+\.)*{key}\b", own), f"{name}.{key}"
