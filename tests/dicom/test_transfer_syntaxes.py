import pytest
from pydicom.uid import UID, UID_dictionary

from minipacs.dicom.tables.transfer_syntaxes import (
    DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN,
    EXPLICIT_VR_BIG_ENDIAN,
    EXPLICIT_VR_LITTLE_ENDIAN,
    IMPLICIT_VR_LITTLE_ENDIAN,
    TRANSFER_SYNTAXES,
    UNCOMPRESSED,
)

WITHOUT_PIXELS_OF_THEIR_OWN = {
    "1.2.840.10008.1.2.4.94",  # JPIP Referenced
    "1.2.840.10008.1.2.4.95",  # JPIP Referenced Deflate
    "1.2.840.10008.1.2.4.204",  # JPIP HTJ2K Referenced
    "1.2.840.10008.1.2.4.205",  # JPIP HTJ2K Referenced Deflate
    "1.2.840.10008.1.2.6.1",  # RFC 2557 MIME encapsulation
    "1.2.840.10008.1.2.6.2",  # XML Encoding
    "1.2.840.10008.1.2.7.1",  # SMPTE ST 2110-20 progressive
    "1.2.840.10008.1.2.7.2",  # SMPTE ST 2110-20 interlaced
    "1.2.840.10008.1.2.7.3",  # SMPTE ST 2110-30 audio
    "1.2.840.10008.1.20",  # Papyrus 3
}
NEWER_THAN_PYDICOM = {
    "1.2.840.10008.1.2.4.110",
    "1.2.840.10008.1.2.4.111",
    "1.2.840.10008.1.2.4.112",
    "1.2.840.10008.1.2.8.1",
}


def test_every_transfer_syntax_of_the_standard_is_known_or_left_out_on_purpose() -> None:
    standard = {uid for uid, (_, kind, *_) in UID_dictionary.items() if kind == "Transfer Syntax"}
    assert TRANSFER_SYNTAXES.keys() | WITHOUT_PIXELS_OF_THEIR_OWN == standard | NEWER_THAN_PYDICOM
    assert not TRANSFER_SYNTAXES.keys() & WITHOUT_PIXELS_OF_THEIR_OWN


@pytest.mark.parametrize("uid", sorted(TRANSFER_SYNTAXES.keys() - NEWER_THAN_PYDICOM))
def test_flags_and_name_are_those_of_the_standard(uid: str) -> None:
    ours, theirs = TRANSFER_SYNTAXES[uid], UID(uid)
    assert ours.uid == uid
    assert ours.name == theirs.name
    assert ours.implicit == theirs.is_implicit_VR
    assert ours.big_endian == (not theirs.is_little_endian)
    assert ours.deflated == theirs.is_deflated
    assert ours.encapsulated == theirs.is_encapsulated


@pytest.mark.parametrize("uid", sorted(TRANSFER_SYNTAXES))
def test_what_is_named_lossless_is_not_lossy(uid: str) -> None:
    syntax = TRANSFER_SYNTAXES[uid]
    words = ("Lossless", "Uncompressed", "Deflated")
    named_lossless = any(word in syntax.name.replace("Near-Lossless", "") for word in words)
    assert syntax.lossy == (syntax.encapsulated and not named_lossless)


def test_named_syntaxes_are_in_the_table() -> None:
    assert TRANSFER_SYNTAXES[IMPLICIT_VR_LITTLE_ENDIAN].implicit
    assert TRANSFER_SYNTAXES[EXPLICIT_VR_BIG_ENDIAN].big_endian
    assert TRANSFER_SYNTAXES[DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN].deflated
    for uid in UNCOMPRESSED:
        assert not TRANSFER_SYNTAXES[uid].deflated
        assert not TRANSFER_SYNTAXES[uid].encapsulated
    assert UNCOMPRESSED[0] == EXPLICIT_VR_LITTLE_ENDIAN
