"""Behind nginx, with TLS and below a prefix: the addresses in answers are those that the client asks at."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from dicomweb_client import DICOMwebClient
from requests import Session

from minipacs.net.identity import users
from minipacs.web.access import Places
from minipacs.web.site.page import built
from tests.support.built import page_built
from tests.support.nginx import proxied
from tests.support.objects import study
from tests.support.web import Web


@pytest.fixture
def site(tmp_path: Path) -> Iterator[tuple[Web, str, Path]]:
    """Serve an archive behind nginx; give it, the address of its page there, and who signed the certificate."""
    page_built()
    web = Web(tmp_path / "archive", places=Places("", ["127.0.0.1"]), page=built())
    with proxied(tmp_path, web.port) as found:
        yield web, found.url, found.authority
    web.close()


def test_a_client_behind_nginx(site: tuple[Web, str, Path]):
    web, url, authority = site
    root = f"{url}dicom-web"
    datasets = study(instances=2)
    web.store(*datasets)
    session = Session()
    session.trust_env = False  # else a variable names other authorities
    session.verify = str(authority)
    client = DICOMwebClient(root, session=session)
    client.set_http_retry_params(False)
    (row,) = client.search_for_studies()
    retrieve = row["00081190"]["Value"][0]
    assert retrieve == f"{root}/studies/{datasets[0].StudyInstanceUID}"
    assert session.get(retrieve, headers={"Accept": "*/*"}).status_code == 200
    metadata = client.retrieve_study_metadata(datasets[0].StudyInstanceUID)
    uri = metadata[0]["7FE00010"]["BulkDataURI"]
    assert uri.startswith(f"{root}/studies/")
    assert client.retrieve_bulkdata(uri)[0] == datasets[0].PixelData
    assert client.retrieve_study(datasets[0].StudyInstanceUID)[0].PixelData == datasets[0].PixelData


def test_the_page_behind_nginx(site: tuple[Web, str, Path]):
    web, below, authority = site
    users.add(web.folder / "users", "anna", b"passcode", ["read"])
    session = Session()
    session.trust_env = False
    session.verify = str(authority)
    page = session.get(below)
    assert page.status_code == 200
    parts = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert parts
    for part in parts:
        assert part.startswith("./assets/")
        assert session.get(below + part).status_code == 200
    signed = session.post(f"{below}api/v1/session", json={"name": "anna", "passcode": "passcode"})
    assert signed.json()["name"] == "anna"
    assert "Path=/pacs/; " in signed.headers["Set-Cookie"]
    assert "Secure" in signed.headers["Set-Cookie"]
    assert session.get(f"{below}api/v1/session").json()["name"] == "anna"
    assert session.delete(f"{below}api/v1/session").json()["name"] == ""
    assert session.get(f"{below}api/v1/session").json()["name"] == ""
