"""Person names against keys (PS3.4 C.2.2.2.1): folded, in any of their component groups, or by what they sound like."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from minipacs.dicom.matching.wildcards import Patterns
from minipacs.dicom.text.person_name import Groups, fold, folded_groups, groups
from minipacs.dicom.text.phonetics import sound, words


class NameKey(NamedTuple):
    """One folded name to look for: in `any_group`, or, if that is "", group by group, "" matching anything."""

    any_group: str
    by_group: Groups = ("", "", "")


class Name:
    """Finds names whatever their case and accents (PS3.5 6.2.1); `multi` tells that there may be several."""

    __slots__ = ("_any_group", "_by_group", "keys", "multi")

    def __init__(self, keys: Sequence[NameKey], *, multi: bool) -> None:
        self.keys = tuple(keys)
        self.multi = multi
        self._any_group = Patterns([key.any_group for key in keys if key.any_group])
        self._by_group = [
            [(i, Patterns([text])) for i, text in enumerate(key.by_group) if text] for key in keys if not key.any_group
        ]

    def matches(self, stored: str) -> bool:
        """Tell whether a stored value has a name that is asked for."""
        return any(map(self._fits, _names(stored, multi=self.multi)))

    def _fits(self, name: Groups) -> bool:
        return any(group and self._any_group.match(group) for group in name) or any(
            all(patterns.match(name[i]) for i, patterns in asked) for asked in self._by_group
        )


@dataclass(frozen=True, slots=True)
class Sound:
    """Finds names that sound alike in one of their groups, whatever the order of their words (PS3.4 C.5.1.1).

    Each of `keys` is the words of one name; all have to be found.
    """

    keys: tuple[tuple["SoundWord", ...], ...]
    multi: bool

    def matches(self, stored: str) -> bool:
        """Tell whether a stored value has a name that is asked for."""
        spoken = [words(group) for name in _names(stored, multi=self.multi) for group in name if group]
        return any(_all_found(key, heard) for key in self.keys for heard in spoken)


class SoundWord:
    """A folded word of a key: found by its sound, or by a pattern if it has wild cards."""

    __slots__ = ("_patterns", "_sound", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self._patterns = Patterns([text]) if "*" in text or "?" in text else None
        self._sound = sound(text)

    def matches(self, word: str) -> bool:
        """Tell whether a folded word of a name is what was asked for."""
        if self._patterns is not None:
            return self._patterns.match(word)
        return word == self.text or sound(word) == self._sound


def name_key(value: str) -> NameKey | None:
    """Read one name of a key; None if it is universal. One group is looked for in any (PS3.5 6.2.1)."""
    folded = fold(value)
    if "=" not in folded:
        return NameKey(folded) if folded.strip("*") else None
    alphabetic, ideographic, phonetic = (group if group.strip("*") else "" for group in groups(folded))
    found = (alphabetic, ideographic, phonetic)
    return NameKey("", found) if any(found) else None


def sound_key(value: str) -> tuple[SoundWord, ...]:
    """Read one name of a key that is looked for by sound; empty if it has no words, and so is universal."""
    return tuple(map(SoundWord, words(fold(value))))


def _names(stored: str, *, multi: bool) -> Iterator[Groups]:
    """Give the folded groups of each name; of one that may be alone they include its backslashes."""
    if multi:
        yield from (groups(name) for name in fold(stored).split("\\"))
    else:
        yield folded_groups(stored)


def _all_found(asked: Sequence[SoundWord], heard: Sequence[str]) -> bool:
    """Tell whether every word that is asked for was heard; each word heard answers for one."""
    left = list(heard)
    for word in asked:
        found = next((other for other in left if word.matches(other)), None)
        if found is None:
            return False
        left.remove(found)
    return True
