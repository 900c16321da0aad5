"""Performed procedure steps beyond what a modality sends (PS3.4 F.7.2)."""

import pytest

from minipacs.dicom.workflow.performed_step import MAX_SCHEDULED_STEPS, created
from minipacs.errors import Failure, Kind

SCHEDULED_STEPS = 0x00400270


def test_a_step_refers_to_so_many_scheduled_ones_at_most():
    with pytest.raises(Failure, match="more than 1000") as refused:
        created({SCHEDULED_STEPS: ({},) * (MAX_SCHEDULED_STEPS + 1)})
    assert (refused.value.kind, refused.value.tags) == (Kind.TOO_MANY, (SCHEDULED_STEPS,))
    with pytest.raises(Failure) as refused:
        created({SCHEDULED_STEPS: ({},) * MAX_SCHEDULED_STEPS})
    assert refused.value.kind is not Kind.TOO_MANY
