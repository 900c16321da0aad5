"""PS3.4 C.2.2.2 once more, in plain Python and slow: what tests hold the matching of the archive against."""

from collections.abc import Mapping

from minipacs.dicom.tables.attributes import BY_KEYWORD, Attribute
from minipacs.dicom.text.person_name import fold


def row_matches(row: Mapping[str, str], keys: Mapping[str, str]) -> bool:
    """Tell whether values match all keys, both by keyword."""
    for keyword, text in keys.items():
        attribute = BY_KEYWORD[keyword]
        asked = [part.strip(" ") for part in text.split("\\") if part.strip(" ")]
        if not asked or any(_universal(attribute, key) for key in asked):
            continue
        values = row[keyword].split("\\") if attribute.multi else [row[keyword]]
        if not any(_value_matches(attribute, value, key) for value in values for key in asked):
            return False
    return True


def _fits(text: str, pattern: str) -> bool:
    if not pattern:
        return not text
    if pattern[0] == "*":
        return _fits(text, pattern[1:]) or (bool(text) and _fits(text[1:], pattern))
    return bool(text) and pattern[0] in ("?", text[0]) and _fits(text[1:], pattern[1:])


def _digits(time: str, fill: str) -> str | None:
    plain = time.replace(":", "").replace(".", "")
    return plain + fill[len(plain) :] if plain and plain < "24" else None


def _value_matches(attribute: Attribute, value: str, key: str) -> bool:
    if attribute.vr == "DA":
        value, (low, dash, high) = value.replace(".", ""), key.partition("-")
        return bool(value) and ((low or "0") <= value <= (high or "9") if dash else value == low)
    if attribute.vr == "TM":
        (low, dash, high), time = key.partition("-"), _digits(value, "000000000000")
        if time is None:
            return False
        first, last = _digits(low, "000000000000") or "0", _digits(high, "235959999999") or "9"
        return first <= time <= last if dash else time == first
    if attribute.vr == "PN":
        groups, asked = [*fold(value).split("="), "", ""][:3], fold(key)
        if "=" not in asked:
            return any(_fits(group, asked) for group in groups)
        pairs = zip(groups, [*asked.split("="), "", ""][:3], strict=True)
        return all(_fits(group, part) for group, part in pairs if part.strip("*"))
    return _fits(value, key) if attribute.vr != "IS" else value == key


def _universal(attribute: Attribute, key: str) -> bool:
    if attribute.vr == "PN":
        return not fold(key).strip("*=")
    return attribute.vr not in ("DA", "TM", "IS") and not key.strip("*")
