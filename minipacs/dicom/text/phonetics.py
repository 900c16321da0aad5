"""Fuzzy semantic matching of names: those that sound alike, in Latin script, whatever the order of their words.

A word is reduced to the consonants one hears, so that spellings fall together that people confuse: Meyer and Maier,
Schmidt and Smit, Catherine and Katrin do, Schmidt and Schulz do not. PS3.4 C.5.1.1
"""

import re
from functools import lru_cache

from minipacs.dicom.matching.wildcards import regex

MAX_CODED = 4096
"""Words whose codes are remembered."""

_SOUNDS: tuple[tuple[str, str], ...] = (
    ("^(kn|gn|pn)", "n"),
    ("^wr", "r"),
    ("^ps", "s"),
    ("tsch|tch|sch|sh|cz|cs|sz|tz|ts", "s"),
    ("ch(?=[rl])", "k"),
    ("ch", "s"),
    ("ph|pf", "f"),
    ("gh(?=t)", ""),
    ("dt|th", "t"),
    ("ck|cq|gu(?=[ei])|q", "k"),
    ("x", "ks"),
    ("c(?=[eiy])", "s"),
    ("[cg]", "k"),
    ("z", "s"),
    ("d", "t"),
    ("b", "p"),
    ("[vw]", "f"),
    ("j", "i"),
    ("h", ""),
    ("^[aeiouy]+", "a"),
    ("(?<=.)[aeiouy]+", ""),
    (r"(.)\1+", r"\1"),
)
"""Spellings, and what stands for their sound, applied in this order to a folded word."""

_COMPILED = tuple((re.compile(spelling), sound) for spelling, sound in _SOUNDS)
_WORD = re.compile(r"[^\s^=\\,.\-]+")


@lru_cache(MAX_CODED)
def sound(word: str) -> str:
    """Give the code of a folded word; one that is not in Latin script is its own."""
    if not (word.isascii() and word.isalpha()):
        return word
    for spelling, code in _COMPILED:
        word = spelling.sub(code, word)
    return word


def sounds_like(name: str, key: str) -> bool:
    """Tell whether every word of a folded key is among those of a folded name: alike, or by a pattern with `*` and `?`.

    Each word of the name answers for one of the key.
    """
    left = _WORD.findall(name)
    for asked in _WORD.findall(key):
        found = next((word for word in left if _alike(word, asked)), None)
        if found is None:
            return False
        left.remove(found)
    return True


def _alike(word: str, asked: str) -> bool:
    if "*" in asked or "?" in asked:
        return regex(asked).fullmatch(word) is not None
    return word == asked or sound(word) == sound(asked)
