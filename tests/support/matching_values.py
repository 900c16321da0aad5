"""Values of objects and keys, made up by hypothesis so that they meet now and then."""

from collections.abc import Mapping

from hypothesis import strategies as st

LETTERS = st.text(alphabet="aAbäÄ%_[!ß^= ", max_size=4)
WILD = st.text(alphabet="aAbä%_[!*?^=", max_size=5)
DATES = st.sampled_from(["", "20240101", "20240102", "20240131", "20240201", "2024.01.02", "20241"])
TIMES = st.sampled_from(["", "10", "1000", "100000.5", "10:30", "103059", "235959.999999", "99"])
NAMES = st.lists(LETTERS, min_size=1, max_size=3).map("=".join)
NAME_KEYS = st.lists(WILD, min_size=1, max_size=2).map("=".join)

ROWS = st.fixed_dictionaries(
    {
        "AccessionNumber": LETTERS,
        "StudyDate": DATES,
        "StudyTime": TIMES,
        "PatientName": NAMES,
        "OtherPatientNames": st.lists(NAMES, max_size=2).map("\\".join) | st.sampled_from(["a=b\\b=a", "a\\b=b"]),
        "ImageType": st.lists(st.text(alphabet="aAb%_", max_size=3), max_size=3).map("\\".join)
        | st.sampled_from(["a\\b", "a\\ab\\b", "ab\\b"]),
        "InstanceNumber": st.sampled_from(["", "1", "10", "*"]),
    }
)
"""Values of an object by keyword."""

KEY_TEXTS: Mapping[str, st.SearchStrategy[str]] = {
    "AccessionNumber": st.lists(WILD, max_size=2).map("\\".join),
    "StudyDate": st.sampled_from(
        ["", "20240102", "20240102-", "-20240131", "20240101-20240131", "20240201\\20240101", "20240131-20240131"]
    ),
    "StudyTime": st.sampled_from(["", "10", "1000-1030", "-103059", "10:00-", "100000.5", "09-103059"]),
    "PatientName": NAME_KEYS,
    "OtherPatientNames": st.lists(NAME_KEYS, max_size=2).map("\\".join) | st.sampled_from(["a=a", "b=b", "a=?"]),
    "ImageType": st.lists(st.text(alphabet="aAb%_*?", max_size=4), max_size=2).map("\\".join)
    | st.sampled_from(["a*b", "a?b", "a*b*b"]),
    "InstanceNumber": st.sampled_from(["", "1", "*", "1\\10"]),
}
"""Values of keys for such objects."""


def few(texts: Mapping[str, st.SearchStrategy[str]]) -> st.SearchStrategy[dict[str, str]]:
    """Choose a key, two or three: of many hardly any object ever matches all."""
    chosen = st.lists(st.sampled_from(sorted(texts)), min_size=1, max_size=3, unique=True)
    return chosen.flatmap(lambda keywords: st.fixed_dictionaries({keyword: texts[keyword] for keyword in keywords}))
