"""DELETE over HTTP: by right, whole, and told in the feed."""

import pytest

from minipacs.archive.care.holds import hold
from tests.support.objects import study
from tests.support.storing import published
from tests.support.web import Web
from tests.web.test_retrieve import path_of


@pytest.mark.parametrize(("level", "left"), [("study", 0), ("series", 3), ("instance", 5)])
def test_each_level(web: Web, level: str, left: int, caplog: pytest.LogCaptureFixture):
    datasets = study(series=2, instances=3)
    web.store(*datasets)
    path = f"/dicom-web{path_of(datasets[0], level)}"
    answer = web.ask("DELETE", path)
    assert (answer.status, answer.body) == (204, b"")
    assert len(published(web.folder)) == web.archive.index.statistics().instances == left
    assert web.ask("DELETE", path).status == 404
    told = [event.action for event in web.archive.index.changes(0)]
    assert told.count("delete") == 6 - left
    (record,) = [r for r in caplog.records if r.message == "instances deleted"]
    fields = record.fields  # type: ignore[attr-defined]
    assert (fields["by"], fields["instances"]) == ("127.0.0.1", 6 - left)


def test_what_is_in_another_study_is_not_found(web: Web):
    one, other = study()[0], study()[0]
    web.store(one, other)
    mixed = path_of(one).replace(one.StudyInstanceUID, other.StudyInstanceUID)
    assert web.ask("DELETE", f"/dicom-web{mixed}").status == 404
    assert len(published(web.folder)) == 2


def test_what_is_held_is_refused_with_the_reason(web: Web, caplog: pytest.LogCaptureFixture):
    datasets = study(series=1, instances=2)
    web.store(*datasets)
    uid = datasets[0].StudyInstanceUID
    hold(web.archive.tree, web.archive.index, [uid], by="me", reason="lawsuit", releases=False)
    assert web.ask("GET", f"/api/v1/removal?study={uid}").json["held"] == ["lawsuit"]
    for level in ("study", "series", "instance"):
        answer = web.ask("DELETE", f"/dicom-web{path_of(datasets[0], level)}")
        assert (answer.status, answer.json["details"]) == (409, f"study {uid} is held: lawsuit")
    assert len(published(web.folder)) == web.archive.index.statistics().instances == 2
    assert "instances deleted" not in {record.message for record in caplog.records}


def test_it_needs_the_right(tmp_path):
    web = Web(tmp_path / "archive", anonymous=["read", "store"])
    try:
        (ds,) = study()
        web.store(ds)
        assert web.ask("DELETE", f"/dicom-web{path_of(ds, 'study')}").status == 401
        assert len(published(web.folder)) == 1
    finally:
        web.close()
