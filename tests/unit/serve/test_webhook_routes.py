import pytest
from unit.serve.edge import problem

from pipelines.jobs.models import State

OWN = "https://hooks.example.com/of/a/job"


def test_webhooks_are_listed_by_host_alone(edge):
    answer = edge.client.get("/v1/webhooks")
    (endpoint,) = answer.json()["endpoints"]
    assert (endpoint["host"], endpoint["disabled_at"]) == ("hooks.example.com:8443", None)
    assert "secret-path" not in answer.text
    assert answer.json()["deliveries"] == {"pending": 0, "failed": 0, "delivered": 0}


def test_a_test_is_owed_to_each_webhook(edge):
    answer = edge.client.post("/v1/webhooks/test")
    assert answer.status_code == 202
    (sent,) = answer.json()["deliveries"]
    assert (sent["type"], sent["state"], sent["host"]) == ("webhook.test", "pending", "hooks.example.com:8443")
    assert edge.client.get("/v1/webhooks/deliveries").json()["deliveries"] == [sent]


def test_deliveries_are_listed_page_by_page_the_newest_first(edge):
    sent = [edge.client.post("/v1/webhooks/test").json()["deliveries"][0]["id"] for _ in range(3)]
    first = edge.client.get("/v1/webhooks/deliveries?limit=2").json()
    second = edge.client.get("/v1/webhooks/deliveries", params={"cursor": first["next_cursor"]}).json()
    assert [each["id"] for each in first["deliveries"] + second["deliveries"]] == sent[::-1]
    assert second["next_cursor"] is None


def test_what_was_given_up_is_listed_and_sent_again(edge):
    sent = edge.client.post("/v1/webhooks/test").json()["deliveries"][0]["id"]
    edge.do(lambda: give_up(edge, sent))
    (failed,) = edge.client.get("/v1/webhooks/deliveries?state=failed").json()["deliveries"]
    assert (failed["id"], failed["answer"], failed["attempts"]) == (sent, "500", 1)
    answer = edge.client.post(f"/v1/webhooks/deliveries/{sent}/resend")
    assert (answer.status_code, answer.json()["state"]) == (202, "pending")
    assert edge.client.get("/v1/webhooks/deliveries?state=failed").json()["deliveries"] == []


async def give_up(edge, delivery_id: str) -> None:
    await edge.outbox.settle(await edge.outbox.delivery(delivery_id), "failed", "500")


def test_what_there_isn_t_can_t_be_sent_again(edge):
    assert problem(edge.client.post("/v1/webhooks/deliveries/msg_1:a/resend")) == (404, "delivery_not_found")


def test_a_job_tells_its_own_webhook_and_a_retry_has_it_too(edge):
    answer = edge.submit(webhook=OWN)
    assert (answer.status_code, answer.json()["webhook"]) == (202, OWN)
    edge.end(answer.json()["id"], State.FAILED)
    retry = edge.client.post(f"/v1/jobs/{answer.json()['id']}/retry").json()
    assert edge.client.get(f"/v1/jobs/{retry['id']}").json()["webhook"] == OWN


@pytest.mark.parametrize(
    ("url", "status", "code"),
    [
        ("https://elsewhere.example.com/", 403, "webhook_refused"),
        ("https://hooks.example.com:8443/", 403, "webhook_refused"),
        ("http://169.254.169.254/latest/meta-data", 403, "webhook_refused"),
        ("https://hooks.example.com@evil.example.com/", 422, "webhook_invalid"),
        ("gopher://hooks.example.com/", 422, "webhook_invalid"),
    ],
)
def test_a_job_may_name_no_webhook_elsewhere(edge, url, status, code):
    assert problem(edge.submit(webhook=url)) == (status, code)
    assert edge.client.get("/v1/jobs").json()["jobs"] == []


def test_the_same_key_with_another_webhook_is_another_request(edge):
    assert edge.submit(key="k", webhook=OWN).status_code == 202
    assert problem(edge.submit(key="k", webhook=f"{OWN}/2")) == (422, "idempotency_key_reused")
