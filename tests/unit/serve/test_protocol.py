import json

import httpx
import pytest
from unit.serve.conftest import event_document, job_document

from serve import calls
from serve.protocol import Done, EventCursor, Patience, ProblemError, ServerUnreachableError, settle

REQUEST = httpx.Request("GET", "http://127.0.0.1:8420/v1/jobs/job-1")
LOST = httpx.ReadError("reset", request=REQUEST)
REFUSED = httpx.ConnectError("refused", request=REQUEST)


def take(cursor: EventCursor, **event):
    return cursor.take(json.dumps(event_document(**event)))


def test_a_good_answer_is_the_value():
    settled = settle(calls.get("job-1"), httpx.Response(200, json=job_document()), Patience(1))
    assert isinstance(settled, Done)
    assert settled.value.id == "job-1"


def test_delays_double():
    patience = Patience(60)
    assert [patience.delay_s() for _ in range(6)] == [0.1, 0.2, 0.4, 0.8, 1.6, 2.0]


def test_a_success_renews_patience():
    patience = Patience(60)
    patience.delay_s()
    patience.renew()
    assert patience.delay_s() == 0.1


def test_the_server_s_wish_to_wait_is_granted():
    answer = httpx.Response(503, headers={"Retry-After": "3"})
    assert settle(calls.get("job-1"), answer, Patience(10)) == 3.0


def test_a_wish_beyond_patience_is_the_problem_itself():
    answer = httpx.Response(503, headers={"Retry-After": "30"}, json={"code": "store_down", "detail": "Redis is down."})
    with pytest.raises(ProblemError, match="Redis is down"):
        settle(calls.get("job-1"), answer, Patience(10))


def test_a_lost_connection_is_tried_again():
    assert settle(calls.get("job-1"), LOST, Patience(10)) == 0.1


def test_lost_for_longer_than_patience_is_unreachable():
    with pytest.raises(ServerUnreachableError, match="mediaray up"):
        settle(calls.get("job-1"), REFUSED, Patience(0))


def test_a_proxy_without_a_server_is_asked_again():
    assert settle(calls.get("job-1"), httpx.Response(502, text="Bad gateway"), Patience(10)) == 0.1


def test_a_crashed_media_process_is_a_problem():
    headers = {"Content-Type": "application/problem+json"}
    answer = httpx.Response(502, headers=headers, json={"code": "child_crashed", "detail": "It died."})
    with pytest.raises(ProblemError, match="It died"):
        settle(calls.get("job-1"), answer, Patience(10))


def test_a_body_that_is_no_problem_document_has_the_status_as_code():
    with pytest.raises(ProblemError) as caught:
        settle(calls.get("job-1"), httpx.Response(500, text="<html>"), Patience(10))
    assert caught.value.code == "http_500"


def test_an_answer_of_another_shape_is_a_problem():
    with pytest.raises(ProblemError) as caught:
        settle(calls.get("job-1"), httpx.Response(200, json={"jobs": []}), Patience(10))
    assert caught.value.code == "answer_invalid"


def test_an_event_seen_before_is_left_out():
    cursor = EventCursor()
    take(cursor, seq=2)
    assert take(cursor, seq=2) is None


def test_an_event_of_a_new_epoch_is_news():
    cursor = EventCursor()
    take(cursor, seq=7)
    assert take(cursor, seq=1, epoch="e2") is not None


def test_a_terminal_event_is_never_left_out():
    cursor = EventCursor()
    take(cursor, seq=7)
    assert take(cursor, seq=3, state="succeeded") is not None
    assert cursor.finished
