"""Accept headers as real clients send them, as RFC 9110 has them, and as nobody should."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minipacs.web.representations.accept import Choice, MediaRange, Offer, choose, is_mixed, parse

PARTS = Offer("application/dicom", is_multipart=True)
SINGLE = Offer("application/dicom")
JSON = Offer("application/dicom+json")
FRAMES = Offer("application/octet-stream", is_multipart=True)
ANYTHING = "1.2.840.10008.1.2.4.50"


@pytest.mark.parametrize(
    "header",
    [
        'multipart/related; type="application/dicom"; transfer-syntax=*',
        'multipart/related;type="application/dicom";transfer-syntax=*',
        'multipart/related; type=application/dicom; transfer-syntax="*"',
        'Multipart/Related ; TYPE="Application/DICOM" ; Transfer-Syntax = "*"',
        'multipart/related; type="application/dicom"; transfer-syntax=*;',
        'nonsense, multipart/related;;type="application/dicom";transfer-syntax=*,,',
    ],
)
def test_one_wish_in_many_ways(header: str):
    assert parse(header) == [MediaRange("application/dicom", "*", is_multipart=True)]


def test_what_ohif_asks_of_metadata_is_understood():
    header = "application/dicom+json, multipart/related; type=application/octet-stream; transfer-syntax=*"
    assert choose([JSON], header) == Choice(JSON)
    assert choose([FRAMES], header) == Choice(FRAMES, "*")


@pytest.mark.parametrize(
    ("header", "offers", "wanted"),
    [
        (None, [PARTS, SINGLE], Choice(PARTS)),
        ("", [PARTS], Choice(PARTS)),
        ("*/*", [PARTS, SINGLE], Choice(PARTS)),
        ("application/*", [PARTS, SINGLE], Choice(SINGLE)),
        ("application/dicom", [PARTS, SINGLE], Choice(SINGLE)),
        (f"application/dicom; transfer-syntax={ANYTHING}", [PARTS, SINGLE], Choice(SINGLE, ANYTHING)),
        ('multipart/related; type="*/*"', [FRAMES], Choice(FRAMES)),
        ("multipart/related", [FRAMES], Choice(FRAMES)),
        ("text/html", [PARTS], None),
        ("application/dicom;q=0, */*", [SINGLE, JSON], Choice(JSON)),
        ("application/dicom;q=0", [SINGLE], None),
        ("application/dicom;q=0.2, application/dicom+json;q=0.8", [SINGLE, JSON], Choice(JSON)),
        ("application/dicom+json, application/dicom", [SINGLE, JSON], Choice(JSON)),
        ("application/dicom+json;q=2, application/dicom", [SINGLE, JSON], Choice(SINGLE)),
        ("application/dicom+json;q=nan, application/dicom", [SINGLE, JSON], Choice(SINGLE)),
        ('text/plain; a="b, application/dicom"', [SINGLE], None),
        ("*/*, application/dicom+json;q=0.1", [JSON, SINGLE], Choice(SINGLE)),
    ],
)
def test_the_offer_that_is_wished_for_most(header: str | None, offers: list[Offer], wanted: Choice | None):
    assert choose(offers, header) == wanted


@pytest.mark.parametrize(
    ("header", "wanted"),
    [
        ("application/dicom, image/jpeg", True),
        ('multipart/related; type="application/dicom", image/png;q=0.1', True),
        ("application/dicom+json, text/html", True),
        ("application/dicom+xml, application/pdf", True),
        ("application/dicom, image/jpeg;q=0", False),
        ('application/dicom, multipart/related; type="image/jpeg"', False),
        ("application/dicom, image/*, */*", False),
        ("text/html, application/xhtml+xml, image/avif, */*;q=0.8", False),
        ("application/json, text/plain, */*", False),
        ("application/zip, application/dicom", False),
    ],
)
def test_dicom_and_renderings_exclude_each_other(header: str, wanted: bool):
    assert is_mixed(header) is wanted


@pytest.mark.parametrize(
    ("header", "parameter", "wanted"),
    [
        ("*/*", "image/png", "image/png"),
        ("image/*", "image/png", "image/png"),
        ("image/avif,image/webp,*/*;q=0.8", "image/gif", "image/gif"),
        (None, "image/gif", "image/gif"),
        (None, "image/tiff", "image/jpeg"),
        ("*/*", "image/tiff", "image/jpeg"),
        ("image/jpeg", "image/png", None),
        ("image/jpeg", "image/jpeg", "image/jpeg"),
    ],
)
def test_a_parameter_picks_among_what_the_header_allows(header: str | None, parameter: str, wanted: str | None):
    offers = [Offer("image/jpeg"), Offer("image/png"), Offer("image/gif")]
    found = choose(offers, header, parameter)
    assert (found.offer.media_type if found else None) == wanted


@given(st.text(alphabet=st.sampled_from('applicationdm/*;,=q"\\ \t.01+-x')))
def test_no_header_is_an_error(header: str):
    for found in parse(header):
        assert 0 <= found.quality <= 1
    choose([PARTS, SINGLE, JSON], header, header)


TYPES = st.sampled_from(["application/dicom", "application/dicom+json", "image/png", "image/*", "*/*"])
QUALITIES = st.integers(0, 1000).map(lambda thousandths: thousandths / 1000)
RANGES = st.lists(
    st.builds(MediaRange, TYPES, st.sampled_from(["", "*", ANYTHING]), QUALITIES, is_multipart=st.booleans()),
    max_size=6,
)


@given(RANGES, st.booleans(), st.sampled_from([",", " , ", ",\t"]))
def test_what_is_written_is_read_again(ranges: list[MediaRange], quotes: bool, comma: str):
    def write(wish: MediaRange) -> str:
        def value(text: str) -> str:
            return f'"{text}"' if quotes else text

        type_ = f"multipart/related; type={value(wish.media_type)}" if wish.is_multipart else wish.media_type
        syntax = f"; transfer-syntax={value(wish.transfer_syntax)}" if wish.transfer_syntax else ""
        return f"{type_}{syntax};q={wish.quality:.3f}"

    assert parse(comma.join(map(write, ranges))) == ranges


@given(RANGES, st.lists(st.sampled_from([PARTS, SINGLE, JSON, FRAMES, Offer("image/png")]), unique=True, min_size=1))
def test_what_is_chosen_is_acceptable_and_nothing_wished_for_more_was_left(
    ranges: list[MediaRange], offers: list[Offer]
):
    header = ", ".join(
        (f'multipart/related; type="{r.media_type}"' if r.is_multipart else r.media_type) + f";q={r.quality:.3f}"
        for r in ranges
    )
    found = choose(offers, header or "text/none")

    def quality(offer: Offer) -> float:
        covering = [
            r
            for r in ranges
            if r.covers(offer.media_type)
            and (r.is_multipart == offer.is_multipart or (not r.is_multipart and r.media_type == "*/*"))
        ]
        most = max((r.specificity for r in covering), default=0)
        return max((r.quality for r in covering if r.specificity == most), default=0)

    assert (found is None) == (not any(map(quality, offers)))
    if found is not None:
        assert quality(found.offer) == max(map(quality, offers))
