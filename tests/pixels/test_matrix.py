"""Pixels of every sign, depth and place in their words, through others' encoders (see tools/pixel_matrix.py)."""

from pathlib import Path

import pytest

from tests.support.pixel_matrix import ENCODERS, Kind, judge

KINDS = (
    Kind(signed=1, stored=12, allocated=16, high_bit=11, overlay_bit=None, frames=2),
    Kind(signed=1, stored=12, allocated=16, high_bit=11, overlay_bit=12, frames=1),
    Kind(signed=0, stored=12, allocated=16, high_bit=15, overlay_bit=0, frames=1),
    Kind(signed=1, stored=12, allocated=16, high_bit=15, overlay_bit=0, frames=1),
    Kind(signed=0, stored=12, allocated=16, high_bit=11, overlay_bit=12, frames=1),
    Kind(signed=1, stored=8, allocated=8, high_bit=7, overlay_bit=None, frames=1),
)
OF_OTHER_VALUES = {"dcmcjpeg pseudo", "dcmcjpeg pseudo 16", "dcmcjpeg baseline", "dcmcjpeg extended"}
"""They encode what is shown, not what is stored."""


@pytest.mark.parametrize("name", ENCODERS)
def test_no_other_picture_than_was_encoded_is_given_out(name: str, tmp_path: Path) -> None:
    found = {str(kind): judge(kind, name, tmp_path) for kind in KINDS}
    outcomes = {kind: each.outcome for kind, each in found.items() if each}
    assert not {"wrong", "missed"} & set(outcomes.values()), found
    assert outcomes or name == "pillow baseline"
    if ENCODERS[name][1] == 0 and name not in OF_OTHER_VALUES:
        assert {"exact"} >= set(outcomes.values()) - {"as others"}, found
