"""What words of names sound like, in Latin script (PS3.4 C.5.1.1).

A word is reduced to the consonants one hears, so that spellings fall together that people confuse: Meyer and Maier,
Schmidt and Smit, Catherine and Katrin do, Schmidt and Schulz do not.
"""

import re
from functools import lru_cache

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


def words(folded: str) -> list[str]:
    """Give the words of a folded name, or of a key."""
    return _WORD.findall(folded)
