"""From requests to worklist steps."""

import pytest

from minipacs.dicom.data_set.json_values import parse
from minipacs.dicom.data_set.values import Values, items, text
from minipacs.dicom.workflow.scheduling import Unschedulable, steps_of
from minipacs.dicom.workflow.worklist import BY_KEYWORD, STEP_SEQUENCE
from tests.support.modality import STEP, request


def value(steps: list[Values], keyword: str) -> list[str]:
    key = BY_KEYWORD[keyword]
    return [text(items(step, STEP_SEQUENCE)[0] if key.in_step else step, key.tag) for step in steps]


def test_each_step_of_a_request_is_one_of_its_own():
    made = request()
    made[STEP] = [{**made[STEP][0], "ScheduledProcedureStepID": name} for name in "AB"]
    steps = steps_of(parse(made))
    assert value(steps, "ScheduledProcedureStepID") == ["A", "B"]
    assert len(set(value(steps, "StudyInstanceUID"))) == 1
    assert all(len(items(step, STEP_SEQUENCE)) == 1 for step in steps)


def test_what_names_a_request_is_derived_from_it():
    made = request(step={"ScheduledProcedureStepID": ""})
    first, again, other = (steps_of(parse(r)) for r in (made, made, {**made, "AccessionNumber": "A2"}))
    for keyword in ("StudyInstanceUID", "ScheduledProcedureStepID", "RequestedProcedureID"):
        assert value(first, keyword) == value(again, keyword) != value(other, keyword)
        assert all(value(first, keyword))


def test_the_study_does_not_change_with_its_steps():
    later = request(step={"ScheduledProcedureStepStartDate": "20240120"})
    first, moved = steps_of(parse(request())), steps_of(parse(later))
    assert value(first, "StudyInstanceUID") == value(moved, "StudyInstanceUID")


def test_a_description_is_found():
    codes = [{"CodeValue": "1", "CodingSchemeDesignator": "L", "CodeMeaning": "CT head"}]
    assert value(
        steps_of(parse(request(RequestedProcedureCodeSequence=codes))), "ScheduledProcedureStepDescription"
    ) == ["CT head"]
    (plain,) = steps_of(parse(request()))
    assert (
        value([plain], "RequestedProcedureDescription") == value([plain], "ScheduledProcedureStepDescription") == ["CT"]
    )


def test_attributes_of_steps_may_stand_at_the_top():
    made = {"PatientName": "Doe", "PatientID": "P", **request()[STEP][0]}
    assert value(steps_of(parse(made)), "Modality") == ["CT"]


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"PatientName": ""}, "lacks PatientName"),
        ({STEP: [{}] * 101}, "more than 100"),
        ({STEP: [request()[STEP][0]] * 2}, "twice"),
        ({"step": {"ScheduledProcedureStepStartTime": "25"}}, "malformed ScheduledProcedureStepStartTime"),
    ],
)
def test_what_cannot_be_scheduled_is_refused(values: dict[str, object], reason: str):
    with pytest.raises(Unschedulable, match=reason):
        steps_of(parse(request(**values)))
