"""What sounds alike, and what does not (PS3.4 C.5.1.1)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minipacs.dicom.matching.attribute import parse
from minipacs.dicom.text.phonetics import sound


def sounds_like(name: str, key: str) -> bool:
    matching = parse("PN", key, multi=False, fuzzy=True)
    return matching is None or matching.matches(name)


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("Meyer^Anna", "Maier"),
        ("Meyer^Anna", "ANNA MEYER"),
        ("Schmidt^Jan", "Smit^Jan"),
        ("Catherine", "Katrin"),
        ("Müller^Jörg^^Dr", "Mueller"),
        ("Smith^Mary", "Mary, Smith"),
        ("Jansen^Thomas", "tomas jan*"),
        ("山田^太郎", "太郎^山田"),
        ("Anything", ""),
    ],
)
def test_names_that_sound_alike(name: str, key: str):
    assert sounds_like(name, key)


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("Schmidt^Jan", "Schulz"),
        ("Meyer^Anna", "Meyer Meyer"),
        ("Meyer^Anna", "Meyer Anna Maria"),
        ("山田^太郎", "山本"),
        ("", "Meyer"),
        ("Иванов", "Петров"),
    ],
)
def test_names_that_do_not(name: str, key: str):
    assert not sounds_like(name, key)


@given(st.text("abcdefghijklmnopqrstuvwxyz", min_size=1, max_size=20))
def test_every_word_sounds_like_itself_and_has_a_short_code(word: str):
    assert sounds_like(word, word)
    assert len(sound(word)) <= 2 * len(word)


@given(st.lists(st.text("abcäß山 ^=*?", max_size=6), max_size=4), st.randoms())
def test_the_order_of_words_does_not_matter(words: list[str], random):
    name = "^".join(words).replace("*", "").replace("?", "")
    mixed = name.replace("=", "^").split("^")
    random.shuffle(mixed)
    assert sounds_like(name.replace("=", "^"), "^".join(mixed))
