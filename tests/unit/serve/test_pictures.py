"""GET /v1/images over HTTP; a lane that answers with a file."""

import os
from pathlib import Path

import pytest
from unit.serve.edge import problem

from cluster import identity
from pipelines.bulk.operations.collection_warm import spec_of
from pipelines.jobs.models import JobError
from pipelines.jobs.served_pictures import ServedPicture, etag_of
from serve.pictures import PictureQuery

URL = "/v1/images"


@pytest.fixture
def pictures(edge, tmp_path):
    file = tmp_path / "made"
    file.write_bytes(b"a picture")
    edge.lane.answer = ServedPicture(path=str(file), media_type="image/webp", etag="abc")
    return edge


@pytest.fixture
def photo(pictures) -> str:
    return str(pictures.films / "film.mkv")


def test_a_picture_is_sent_with_what_caches_need(pictures, photo):
    answer = pictures.client.get(URL, params={"source": photo, "w": 300})
    assert (answer.status_code, answer.content, answer.headers["content-type"]) == (200, b"a picture", "image/webp")
    assert (answer.headers["etag"], answer.headers["cache-control"]) == ('"abc"', "private, no-cache")
    assert answer.headers["vary"] == "Accept"
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("known", ['"x", "abc"', 'W/"abc"', '"x",W/"abc"', "*"])
def test_who_has_it_is_told_so(pictures, known, photo):
    answer = pictures.client.get(URL, params={"source": photo}, headers={"If-None-Match": known})
    assert (answer.status_code, answer.content) == (304, b"")


def test_who_has_one_of_an_older_file_or_build_gets_the_new_one(pictures, photo):
    pictures.lane.answer = pictures.lane.answer.model_copy(update={"etag": "new"})
    answer = pictures.client.get(URL, params={"source": photo}, headers={"If-None-Match": '"abc"'})
    assert (answer.status_code, answer.headers["etag"]) == (200, '"new"')


@pytest.fixture
def version(photo, monkeypatch):
    """The ETag of the photo, which was written long ago, as it is now."""
    monkeypatch.setattr(identity, "SETTLED_S", -1.0)

    def version() -> str:
        return f'"{etag_of(identity.stamp_of(Path(photo).stat()), PictureQuery(source=photo, w=300).spec(""))}"'

    return version


def test_who_has_that_of_this_file_is_told_so_by_a_look_at_it_alone(pictures, version, photo):
    asked = {"params": {"source": photo, "w": 300}, "headers": {"If-None-Match": version()}}
    answer = pictures.client.get(URL, **asked)
    assert (answer.status_code, answer.content, answer.headers["etag"]) == (304, b"", version())
    assert (answer.headers["cache-control"], answer.headers["vary"]) == ("private, no-cache", "Accept")
    assert not pictures.lane.asked


def test_a_file_that_was_changed_is_asked_for(pictures, version, photo):
    known = version()
    os.utime(photo, (1, 1))
    answer = pictures.client.get(URL, params={"source": photo, "w": 300}, headers={"If-None-Match": known})
    assert (answer.status_code, answer.headers["etag"]) == (200, '"abc"')


def test_a_file_that_may_still_be_written_is_asked_for(pictures, version, photo, monkeypatch):
    """Such a write could leave its times as they are."""
    known = version()
    monkeypatch.setattr(identity, "SETTLED_S", 3600.0)
    pictures.client.get(URL, params={"source": photo, "w": 300}, headers={"If-None-Match": known})
    assert pictures.lane.asked


def test_who_has_it_is_told_nothing_of_what_may_not_be_read_any_more(pictures, version, photo, tmp_path):
    known = version()
    outside = tmp_path / "outside.mkv"
    Path(photo).rename(outside)
    Path(photo).symlink_to(outside)
    answer = pictures.client.get(URL, params={"source": photo, "w": 300}, headers={"If-None-Match": known})
    assert problem(answer) == (403, "source_outside_roots")


@pytest.mark.parametrize(
    ("accept", "asked", "made"),
    [
        ("image/avif,image/webp,*/*", {}, "webp"),
        ("image/png,*/*", {}, "jpeg"),
        ("image/webp", {"format": "png"}, "png"),
        ("", {"format": "avif"}, "avif"),
    ],
)
def test_the_format_follows_the_accept_header_unless_it_is_asked_for(pictures, accept, asked, made, photo):
    pictures.client.get(URL, params={"source": photo, **asked}, headers={"Accept": accept})
    ((_, spec),) = pictures.lane.asked
    assert spec.format == made


@pytest.mark.parametrize(
    ("asked", "size"),
    [({"w": 300}, "300"), ({"h": 200}, "65500x200"), ({"w": 300, "h": 200}, "300x200"), ({}, "65500x65500")],
)
def test_the_size_is_a_box_to_fit_into(pictures, asked, size, photo):
    pictures.client.get(URL, params={"source": photo, **asked})
    ((source, spec),) = pictures.lane.asked
    assert (source, spec.sizes, spec.fit) == (photo, (size,), "inside")


@pytest.mark.parametrize(
    "asked", [{"fit": "cover", "w": 300}, {"w": 0}, {"w": 9000}, {"quality": 101}, {"width": 3}, {"frame": 300}]
)
def test_what_can_t_be_made_is_refused(pictures, asked, photo):
    status, _ = problem(pictures.client.get(URL, params={"source": photo, **asked}))
    assert status == 422
    assert not pictures.lane.asked


def test_what_the_lane_refuses_is_a_problem(pictures, photo):
    pictures.lane.answer = JobError(code="not_media", message="no picture")
    assert problem(pictures.client.get(URL, params={"source": photo})) == (422, "not_media")


def test_who_would_wait_too_long_is_told_to_come_again(pictures, photo):
    pictures.lane.answer = JobError(code="busy", message="busy")
    answer = pictures.client.get(URL, params={"source": photo})
    assert problem(answer) == (503, "busy")
    assert answer.headers["retry-after"] == "1"


def test_what_may_not_be_read_is_refused_before_the_lane_is_asked(pictures):
    assert problem(pictures.client.get(URL, params={"source": "/etc/passwd"})) == (403, "source_outside_roots")
    assert not pictures.lane.asked


def link(pictures, **asked):
    answer = pictures.client.post(f"{URL}/links", json={"source": str(pictures.films / "film.mkv"), **asked})
    assert answer.status_code == 200, answer.text
    return answer.json()["url"]


def test_a_signed_link_needs_no_token_and_may_be_kept_by_anybody_who_asks_whether_it_holds(pictures):
    url = link(pictures, w=300, expires_s=100)
    answer = pictures.client.get(url, headers={"Authorization": ""})
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "public, no-cache"
    assert pictures.lane.asked[0][0] == str(pictures.films / "film.mkv")


def test_a_link_to_a_picture_of_which_a_side_is_null_works(pictures):
    answer = pictures.client.get(link(pictures, w=300, h=None), headers={"Authorization": ""})
    assert answer.status_code == 200
    assert pictures.lane.asked[0][1].sizes == ("300",)


def test_a_changed_link_is_refused(pictures):
    url = link(pictures, w=300).replace("w=300", "w=301")
    assert problem(pictures.client.get(url, headers={"Authorization": ""})) == (403, "signature_refused")


def test_a_signature_opens_nothing_else(pictures):
    signature = link(pictures, w=300).partition("?")[2]
    answer = pictures.client.get(f"/v1/jobs?{signature}", headers={"Authorization": ""})
    assert problem(answer) == (401, "unauthorized")


def test_without_token_and_signature_nobody_comes_in(pictures, photo):
    answer = pictures.client.get(URL, params={"source": photo}, headers={"Authorization": ""})
    assert problem(answer) == (401, "unauthorized")


def test_a_link_to_what_can_t_be_made_isn_t_signed(pictures, photo):
    answer = pictures.client.post(f"{URL}/links", json={"source": photo, "fit": "fill"})
    assert problem(answer) == (422, "parameter_invalid")


def test_a_file_may_be_named_after_a_signature(pictures):
    named = pictures.films / "signature=1.jpg"
    named.write_bytes(b"a photo")
    answer = pictures.client.get(URL, params={"source": str(named)})
    assert answer.status_code == 200
    assert pictures.lane.asked[0][0] == str(named)


def test_a_link_to_what_may_not_be_read_isn_t_signed(pictures):
    answer = pictures.client.post(f"{URL}/links", json={"source": "/etc/passwd"})
    assert problem(answer) == (403, "source_outside_roots")


def test_a_head_request_is_answered(pictures, photo):
    answer = pictures.client.head(URL, params={"source": photo})
    assert (answer.status_code, answer.content) == (200, b"")


@pytest.mark.parametrize(("accept", "format_"), [("image/avif,image/webp,*/*", "webp"), ("*/*", "jpeg")])
def test_a_width_alone_asks_for_what_a_collection_is_warmed_with(accept, format_):
    assert PictureQuery(source="/a.jpg", w=320).spec(accept) == spec_of(320, format_)
