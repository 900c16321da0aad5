"""Which codecs are installed for a transfer syntax, told without importing one."""

from collections.abc import Mapping
from functools import cache
from importlib.util import find_spec
from typing import NamedTuple

from minipacs.dicom.tables.transfer_syntaxes import TRANSFER_SYNTAXES
from minipacs.pixels import jpeg

RLE_LOSSLESS = "1.2.840.10008.1.2.5"
JPEG_LS_LOSSLESS = jpeg.JPEG_LS_LOSSLESS
JPEG_2000_LOSSLESS = "1.2.840.10008.1.2.4.90"


class Codec(NamedTuple):
    """A plugin of pydicom's, and the module that it needs."""

    plugin: str
    module: str


_OPENJPEG, _RLE = Codec("pylibjpeg", "openjpeg"), Codec("pylibjpeg", "rle")
_NUMPY_RLE, _JPEG = Codec("pydicom", "numpy"), Codec(jpeg.LABEL, "imagecodecs")

DECODERS: Mapping[str, tuple[Codec, ...]] = {
    RLE_LOSSLESS: (_RLE, _NUMPY_RLE),
    **dict.fromkeys(jpeg.DECODER_DEPENDENCIES, (_JPEG,)),
    JPEG_2000_LOSSLESS: (_OPENJPEG,),
    "1.2.840.10008.1.2.4.91": (_OPENJPEG,),
    "1.2.840.10008.1.2.4.201": (_OPENJPEG,),
    "1.2.840.10008.1.2.4.202": (_OPENJPEG,),
    "1.2.840.10008.1.2.4.203": (_OPENJPEG,),
}
"""In the order of preference. The first one installed is used and no other: a second that gets through where the
first failed may well have decoded half a frame."""

ENCODERS: Mapping[str, tuple[Codec, ...]] = {
    RLE_LOSSLESS: (_RLE, _NUMPY_RLE),
    JPEG_LS_LOSSLESS: (_JPEG,),
    JPEG_2000_LOSSLESS: (_OPENJPEG,),
}
"""Lossless ones only: nothing here may change a pixel."""


@cache
def decoder(transfer_syntax_uid: str) -> str | None:
    """Name the plugin to decode an encapsulated transfer syntax with, or None."""
    return _first_installed(DECODERS.get(transfer_syntax_uid, ()))


@cache
def encoder(transfer_syntax_uid: str) -> str | None:
    """Name the plugin to encode into an encapsulated transfer syntax with, or None."""
    return _first_installed(ENCODERS.get(transfer_syntax_uid, ()))


def _first_installed(codecs: tuple[Codec, ...]) -> str | None:
    return next((codec.plugin for codec in codecs if find_spec(codec.module) is not None), None)


def can_transcode(stored_uid: str, target_uid: str) -> bool:
    """Tell, from the transfer syntaxes alone, whether an object stored in the one may be had in the other."""
    stored, target = TRANSFER_SYNTAXES.get(stored_uid), TRANSFER_SYNTAXES.get(target_uid)
    if stored is None or target is None:
        return False
    if target.encapsulated and encoder(target_uid) is None:
        return False
    return not stored.encapsulated or decoder(stored_uid) is not None
