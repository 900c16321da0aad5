"""Person names for matching: folding of case and accents, component groups (PS3.5 6.2.1, PS3.4 C.2.2.2.1)."""

import re
import unicodedata

FOLD_VERSION = 1
"""Rises when `fold` gives another result for some text, so that stored folded names are known to be out of date."""

_UNDECOMPOSED = str.maketrans(
    {"ø": "o", "ł": "l", "đ": "d", "ð": "d", "ħ": "h", "ŧ": "t", "ı": "i", "æ": "ae", "œ": "oe", "þ": "th"}
)
"""Letters that Unicode gives no decomposition; case folding makes ß into ss already."""

_ACCENTS = re.compile(
    # A Latin or Greek letter: a mark of any other script makes another letter.
    "(?<=[A-Za-z\u00c0-\u02af\u0370-\u03ff\u1d00-\u1dbf\u1e00-\u1fff"
    "\u2c60-\u2c7f\ua720-\ua7ff\uab30-\uab6f\ufb00-\ufb06])"
    "[\u0300-\u036f\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f]+"
)


def fold(text: str) -> str:
    """Give the form of a name, or of a key with wildcards, under which equal names are equal.

    Insensitive to case, to accents on Latin and Greek letters, to spaces around components, to trailing `^` and `=`;
    composed, so that `?` stands for one character. Several names stay joined by backslashes. `fold(fold(x))` is
    `fold(x)`.
    """
    folded = text.lower() if text.isascii() else _fold_letters(text)
    if " " in folded or "=" in folded or "\\" in folded or folded[-1:] == "^":
        return "\\".join([_without_padding(name) for name in folded.split("\\")])
    return folded


def _fold_letters(text: str) -> str:
    """Accents go before case: folding would make a letter of the Greek iota subscript."""
    plain = _ACCENTS.sub("", unicodedata.normalize("NFD", text))
    return unicodedata.normalize("NFC", plain.casefold().translate(_UNDECOMPOSED))


def _without_padding(name: str) -> str:
    return "=".join(
        ["^".join([component.strip(" ") for component in group.split("^")]).rstrip("^") for group in name.split("=")]
    ).rstrip("=")


Groups = tuple[str, str, str]
"""The alphabetic, the ideographic and the phonetic group."""


def folded_groups(text: str) -> Groups:
    """Give the component groups of a name, folded; of several names those that are there, joined by backslashes."""
    if not text:
        return ("", "", "")
    alphabetic, ideographic, phonetic = zip(*(groups(name) for name in fold(text).split("\\")), strict=True)
    return _joined(alphabetic), _joined(ideographic), _joined(phonetic)


def _joined(group: tuple[str, ...]) -> str:
    return "\\".join(filter(None, group))


def groups(name: str) -> Groups:
    """Split one name into its alphabetic, ideographic and phonetic group, "" for those it lacks (PS3.5 6.2.1.1)."""
    alphabetic, ideographic, phonetic, *_ = [*name.split("="), "", ""]
    return alphabetic, ideographic, phonetic
