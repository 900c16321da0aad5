"""C-FIND across character sets, by real clients (PS3.4 C.2.2.2, PS3.5 6.1.2)."""

import io
from collections.abc import Callable, Iterator
from pathlib import Path

import pydicom
import pytest
from pydicom.data import get_charset_files
from pydicom.dataset import Dataset

from tests.support import dcmtk
from tests.support.finder import Finder, Found, text
from tests.support.objects import ct
from tests.support.sender import Sender
from tests.support.server import Server
from tests.support.wire import CT, EXPLICIT, parse_implicit

PATIENT_NAME = 0x00100010

NAMES = {
    "ISO_IR 100": ("latin-1", "Äneas^Rüdiger"),
    "ISO_IR 101": ("iso8859_2", "Wałęsa^Łukasz"),
    "ISO_IR 109": ("iso8859_3", "Ĉapek^Ġorġ"),
    "ISO_IR 110": ("iso8859_4", "Bērziņš^Ģirts"),
    "ISO_IR 126": ("iso8859_7", "Διονυσιος"),
    "ISO_IR 127": ("iso8859_6", "قباني^لنزار"),
    "ISO_IR 138": ("iso8859_8", "שרון^דבורה"),
    "ISO_IR 144": ("iso8859_5", "Люкceмбypг"),
    "ISO_IR 148": ("iso8859_9", "Çavuşoğlu^İpek"),
    "ISO_IR 166": ("tis_620", "สมชาย^ใจดี"),
    "ISO_IR 13": ("shift_jis", "ﾔﾏﾀﾞ^ﾀﾛｳ"),
    "\\ISO 2022 IR 87": ("iso2022_jp", "Yamada^Tarou=山田^太郎=やまだ^たろう"),
    "GB18030": ("gb18030", "Wang^XiaoDong=王^小东"),
    "GBK": ("gbk", "Li^Na=李^娜"),
    "ISO_IR 192": ("utf-8", "Смит^Ψ=王=ぁ"),
}
"""A name for each character set, and Python's codec for it."""

SAMPLES = [path for path in get_charset_files("*.dcm") if "PatientName" in pydicom.dcmread(path, force=True)]

STANDARD_SAMPLES = {
    "ISO_IR 127": (b"\xe2\xc8\xc7\xe6\xea^\xe4\xe6\xd2\xc7\xd1", "قباني^لنزار"),
    "ISO_IR 100": (b"Buc^J\xe9r\xf4me", "Buc^Jérôme"),
    "ISO_IR 126": (b"\xc4\xe9\xef\xed\xf5\xf3\xe9\xef\xf2", "Διονυσιος"),
    "ISO_IR 138": (b"\xf9\xf8\xe5\xef^\xe3\xe1\xe5\xf8\xe4", "שרון^דבורה"),
    "ISO_IR 144": (b"\xbb\xee\xdace\xdc\xd1yp\xd3", "Люкceмбypг"),
    "\\ISO 2022 IR 87": (
        b"Yamada^Tarou=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B=\x1b$B$d$^$@\x1b(B^\x1b$B$?$m$&\x1b(B",
        "Yamada^Tarou=山田^太郎=やまだ^たろう",
    ),
    "ISO 2022 IR 13\\ISO 2022 IR 87": (
        b"\xd4\xcf\xc0\xde^\xc0\xdb\xb3=\x1b$B;3ED\x1b(J^\x1b$BB@O:\x1b(J=\x1b$B$d$^$@\x1b(J^\x1b$B$?$m$&\x1b(J",
        "ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎=やまだ^たろう",
    ),
    "\\ISO 2022 IR 149": (
        b"Hong^Gildong=\x1b$)C\xfb\xf3^\x1b$)C\xd1\xce\xd4\xd7=\x1b$)C\xc8\xab^\x1b$)C\xb1\xe6\xb5\xbf",
        "Hong^Gildong=洪^吉洞=홍^길동",
    ),
    "\\ISO 2022 IR 58": (b"Zhang^XiaoDong=\x1b$)A\xd5\xc5^\x1b$)A\xd0\xa1\xb6\xab", "Zhang^XiaoDong=张^小东"),
    "GB18030": (b"Wang^XiaoDong=\xcd\xf5^\xd0\xa1\xb6\xab", "Wang^XiaoDong=王^小东"),
    "GBK": (b"Wang^XiaoDong=\xcd\xf5^\xd0\xa1\xb6\xab", "Wang^XiaoDong=王^小东"),
    "ISO_IR 192": ("Wang^XiaoDong=王^小東".encode(), "Wang^XiaoDong=王^小東"),
}
"""Names of PS3.5 annexes H to K, and of the samples that go around with them, as bytes and as text."""

KOREAN = b"\x1b$)C\xb1\xe8^\x1b$)C\xc8\xf1\xc1\xdf"
CHINESE = b"\x1b$)A\xd0\xa1^\x1b$)A\xb6\xab"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Start an archive with a study for each character set, and pydicom's samples."""
    running = Server(tmp_path_factory.mktemp("charsets"))
    with Sender(running.port) as sender:
        for n, (charset, (_, name)) in enumerate(NAMES.items()):
            values = {"SpecificCharacterSet": charset.split("\\"), "PatientID": f"C{n}", "PatientName": name}
            assert sender.store(ct(**values)).status == 0
        for name, patient in (("김^희중", "KO"), ("小^东", "ZH")):
            assert sender.store(ct(SpecificCharacterSet="ISO_IR 192", PatientID=patient, PatientName=name)).status == 0
        for path in SAMPLES:
            _store_sample(sender, path)
    yield running
    running.end()


def _store_sample(sender: Sender, path: str) -> None:
    """Store a sample, its text as it is, with the UIDs and the pixels of an image."""
    sample = pydicom.dcmread(path, force=True)
    made = ct(PatientName=None)
    made.PatientID = path.rsplit("/", 1)[1]
    for element in ("SpecificCharacterSet", "PatientName"):
        if element in sample:
            made[element] = sample.get_item(element) if element == "SpecificCharacterSet" else sample[element]
    assert sender.store(made).status == 0


def find_in(server: Server, charset: str, codec: str, **keys: "str | bytes") -> Found:
    with Finder(server.port) as wire:
        found = wire.find("STUDY", codec, SpecificCharacterSet=charset, **keys)
        assert found.status == 0, found.final.comment
        return found


def raw_names(found: Found) -> list[bytes]:
    return [dict(parse_implicit(raw))[PATIENT_NAME].rstrip(b" ") for raw in found.raw]


@pytest.mark.parametrize("charset", NAMES)
def test_f18_names_are_found_and_answered_in_each_character_set(server: Server, charset: str):
    codec, name = NAMES[charset]
    patient = f"C{list(NAMES).index(charset)}"
    found = find_in(server, charset, codec, PatientName=name, PatientID=patient)
    (answer,) = found.answers
    assert str(answer.PatientName) == name
    assert text(answer, "SpecificCharacterSet") == charset
    assert raw_names(found) == [_raw(name, codec)]


def _raw(name: str, codec: str) -> bytes:
    if codec == "iso2022_jp":  # each part begins and ends in ASCII
        parts = [[part.encode(codec) for part in group.split("^")] for group in name.split("=")]
        return b"=".join(b"^".join(group) for group in parts)
    return name.encode(codec)


@pytest.mark.parametrize(
    ("charset", "raw", "patient"), [("\\ISO 2022 IR 149", KOREAN, "KO"), ("\\ISO 2022 IR 58", CHINESE, "ZH")]
)
def test_f18_code_extensions_of_korean_and_chinese(server: Server, charset: str, raw: bytes, patient: str):
    with Finder(server.port) as wire:
        found = wire.find("STUDY", SpecificCharacterSet=charset, PatientName=raw)
        assert found.all("PatientID") == [patient]
        (answer,) = found.answers
        assert raw_names(found) == [raw]
        assert text(answer, "SpecificCharacterSet") == charset


def test_f18_what_does_not_fit_is_answered_in_utf_8(server: Server):
    for charset, codec in (("ISO_IR 100", "latin-1"), ("ISO_IR 144", "iso8859_5"), ("", "ascii")):
        (answer,) = find_in(
            server, charset, codec, PatientID="C7" if codec != "iso8859_5" else "C0", PatientName=""
        ).answers
        assert text(answer, "SpecificCharacterSet") == "ISO_IR 192"
        assert str(answer.PatientName) in ("Люкceмбypг", "Äneas^Rüdiger")


def test_f18_the_character_set_is_named_only_where_it_is_needed(server: Server):
    ascii_only = {"PatientID": "C0", "StudyDescription": ""}
    (answer,) = find_in(server, "", "ascii", **ascii_only).answers
    assert "SpecificCharacterSet" not in answer
    (answer,) = find_in(server, "ISO_IR 101", "ascii", **ascii_only).answers
    assert text(answer, "SpecificCharacterSet") == "ISO_IR 101"


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.rsplit("/", 1)[1])
def test_f18_the_samples_of_pydicom_are_found_by_their_names(server: Server, path: str):
    sample = pydicom.dcmread(path, force=True)
    with Finder(server.port) as wire:
        name = str(sample.PatientName).rstrip("=^ ")
        keys = {"PatientName": name, "PatientID": path.rsplit("/", 1)[1]}
        found = wire.find("STUDY", "utf-8", SpecificCharacterSet="ISO_IR 192", **keys)
        assert len(found.answers) == 1
        assert str(found.answers[0].PatientName).rstrip("=^ ") == name


@pytest.mark.parametrize(("charset", "codec"), [("ISO_IR 100", "latin-1"), ("ISO_IR 192", "utf-8")])
def test_f18_findscu_asks_in_its_character_set(server: Server, tmp_path, charset: str, codec: str):
    query = Dataset()
    query.SpecificCharacterSet = charset
    query.QueryRetrieveLevel, query.PatientName, query.PatientID = "STUDY", "Äneas^*", ""
    path = tmp_path / "query.dcm"
    query.save_as(path, implicit_vr=True, little_endian=True)
    options = ("-S", "-X", "-od", str(tmp_path))
    dcmtk.run("findscu", "-aec", "MINIPACS", *options, "127.0.0.1", server.port, path)
    answer = pydicom.dcmread(tmp_path / "rsp0001.dcm")
    assert (answer.SpecificCharacterSet, str(answer.PatientName), answer.PatientID) == (charset, "Äneas^Rüdiger", "C0")


def dump2dcm(path: Path, *elements: tuple[str, bytes]) -> Path:
    """Let dcmtk write a data set of these elements, by tag, their values byte for byte."""
    dump = path.with_suffix(".txt")
    dump.write_bytes(b"".join(b"(%s) ?? [%s]\n" % (tag.encode(), value) for tag, value in elements))
    dcmtk.run("dump2dcm", "+E", dump, path)
    return path


@pytest.mark.parametrize("charset", STANDARD_SAMPLES)
def test_f18_what_dcmtk_writes_and_asks_for_it_reads_in_the_answer(server: Server, tmp_path: Path, charset: str):
    raw, name = STANDARD_SAMPLES[charset]
    number = list(STANDARD_SAMPLES).index(charset)
    named = ("0008,0005", charset.encode()), ("0010,0010", raw)
    uids = [("0008,0016", CT), ("0020,000d", f"1.2.9.{number}"), ("0020,000e", f"1.2.9.{number}.1")]
    patient = "0010,0020", b"D%d" % number
    stored = [*((tag, uid.encode()) for tag, uid in uids), ("0008,0018", b"1.2.9.%d.1.1" % number)]
    sample = dump2dcm(tmp_path / "sample.dcm", *sorted((*named, *stored, patient)))
    dcmtk.client("storescu", server.port, sample)
    query = dump2dcm(tmp_path / "query.dcm", *sorted((*named, ("0008,0052", b"STUDY"), patient)))
    dcmtk.run("findscu", "-aec", "MINIPACS", "-S", "-X", "-od", tmp_path, "127.0.0.1", server.port, query)
    (answer,) = tmp_path.glob("rsp*.dcm")
    if "IR 87" not in charset:  # which Debian's dcmtk cannot read
        assert f"[{name}]" in dcmtk.run("dcmdump", "+U8", "+P", "0010,0010", answer).stdout
    found = find_in(server, "ISO_IR 192", "utf-8", PatientName=name, PatientID=patient[1])
    assert [str(answer.PatientName) for answer in found.answers] == [name]
    assert pydicom.dcmread(answer).get_item(PATIENT_NAME).value.rstrip(b" ") == raw


def test_f18_each_peer_has_its_own_character_set(start_server: Callable[..., Server]):
    peers = "".join(
        f'[[peer]]\ntitle = "{title}"\ncharset = "{charset}"\n'
        for title, charset in (("GREEK", "ISO_IR 126"), ("RUSSIAN", "ISO_IR 144"))
    )
    archive = start_server(more=peers)
    for title, codec, name in ((b"GREEK", "iso8859_7", "Διονυσιος"), (b"RUSSIAN", "iso8859_5", "Люкceмбypг")):
        ds = ct(PatientID=title.decode(), PatientName="?")
        data = io.BytesIO()
        pydicom.filewriter.write_dataset(_explicit(data), ds)
        raw = data.getvalue().replace(b"PN\x02\x00? ", b"PN" + _even(name, codec))
        with Sender(archive.port, calling=title) as sender:
            assert sender.store_bytes(raw, CT, ds.SOPInstanceUID, EXPLICIT).status == 0
        with Finder(archive.port, calling=title) as wire:
            found = wire.find("STUDY", codec, PatientName=name)
            assert found.all("SpecificCharacterSet") == ["ISO_IR 126" if title == b"GREEK" else "ISO_IR 144"]
            assert raw_names(found) == [name.encode(codec)]
    with Finder(archive.port) as wire:
        assert len(wire.find("STUDY", "utf-8", SpecificCharacterSet="ISO_IR 192", PatientName="Διον*").answers) == 1


def _explicit(data: io.BytesIO) -> pydicom.filebase.DicomIO:
    out = pydicom.filebase.DicomFileLike(data)
    out.is_little_endian, out.is_implicit_VR = True, False
    return out


def _even(name: str, codec: str) -> bytes:
    raw = name.encode(codec)
    raw += b" " * (len(raw) % 2)
    return len(raw).to_bytes(2, "little") + raw
