import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minipacs.dicom.text.person_name import fold, groups

NAMES = st.text(
    st.sampled_from("aAéÉßøØıİςΣάᾳжйЙёがガｶﾞ각สั่عَש \\^=*?ﬁ") | st.sampled_from("\u0301\u0308\u0345\u3099\u0306")
) | st.text(st.characters(codec="utf-8"))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("DOE^JOHN", "doe^John"),
        ("Äneas^Rüdiger", "aneas^rudiger"),
        ("Buc^Jérôme", "BUC^JEROME"),
        ("Søren", "SOREN"),
        ("Wałęsa", "walesa"),
        ("Đorđe", "dorde"),
        ("Groß", "GROSS"),
        ("Bjærn Œuvre", "BJAERN oeuvre"),
        ("Þór Guðmundsson", "thor gudmundsson"),
        ("Ħal Ŧ", "hal t"),
        ("Işık", "ISIK"),
        ("İnci", "inci"),
        ("Nguyễn Thị Ước", "NGUYEN THI UOC"),
        ("Διονύσιος", "ΔΙΟΝΥΣΙΟΣ"),
        ("ᾳ", "α"),
        ("Ёлка", "ёЛКА"),
        ("e\u0301", "é"),
        ("ガ", "カ\u3099"),
        ("각", "\u1100\u1161\u11a8"),
    ],
)
def test_f8_case_and_accents_on_latin_and_greek_are_folded(one: str, other: str) -> None:
    assert fold(one) == fold(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("が", "か"),
        ("ガ", "カ"),
        ("й", "и"),
        ("ё", "е"),
        ("각", "가"),
        ("ก่า", "กา"),
        ("عَ", "ع"),
        ("שׁ", "ש"),
        ("DOE^JOHN", "JOHN^DOE"),
        ("DOE^^J", "DOE^J"),
        ("DOE JOHN", "DOEJOHN"),
    ],
)
def test_f8_marks_of_other_scripts_and_the_order_of_components_are_kept(one: str, other: str) -> None:
    assert fold(one) != fold(other)


@pytest.mark.parametrize("letter", ["é", "Ж", "й", "が", "각", "ά", "Ễ"])
def test_f8_question_mark_is_one_character(letter: str) -> None:
    assert len(fold(unicodedata.normalize("NFD", letter))) == 1


@pytest.mark.parametrize(
    ("text", "folded"),
    [
        ("Doe^John^^^", "doe^john"),
        ("Doe^John==", "doe^john"),
        ("Doe^^=山田^=^=", "doe=山田"),
        ("Doe ^ John ", "doe^john"),
        ("=山田^太郎", "=山田^太郎"),
        ("^John", "^john"),
        ("Doe^\\Roe=\\", "doe\\roe\\"),
        ("Doe^*", "doe^*"),
        ("^^=^", ""),
        ("", ""),
    ],
)
def test_f9_separators_without_anything_behind_them_go(text: str, folded: str) -> None:
    assert fold(text) == folded


@given(NAMES)
def test_folding_twice_is_folding_once(text: str) -> None:
    assert fold(fold(text)) == fold(text)


@given(NAMES)
def test_composition_does_not_matter(text: str) -> None:
    assert fold(unicodedata.normalize("NFD", text)) == fold(unicodedata.normalize("NFC", text)) == fold(text)


@given(NAMES)
def test_case_does_not_matter(text: str) -> None:
    assert fold(text.casefold()) == fold(text) or "\u0345" in unicodedata.normalize("NFD", text)


@given(st.text(st.characters(codec="ascii")))
def test_ascii_folds_to_ascii_the_fast_way_and_the_slow(text: str) -> None:
    assert fold(text + "\\é") == fold(text) + "\\e"


def test_f9_groups() -> None:
    assert groups("yamada^tarou=山田^太郎=やまだ^たろう") == ("yamada^tarou", "山田^太郎", "やまだ^たろう")
    assert groups("doe^john") == ("doe^john", "", "")
    assert groups("=山田") == ("", "山田", "")
    assert groups("a=b=c=d") == ("a", "b", "c")
    assert groups("") == ("", "", "")
