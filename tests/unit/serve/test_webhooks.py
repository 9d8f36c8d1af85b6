"""Deliveries to a real receiver, out of a real store."""

import asyncio
import base64
import datetime
import ssl
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from pydantic import SecretStr
from receiver import Receiver, receiver
from standardwebhooks import WebhookVerificationError
from unit.pipelines.jobs.makers import submission, wiped

from cluster.metrics import REGISTRY
from cluster.settings import Settings
from pipelines.jobs import outbox as outbox_module
from pipelines.jobs.errors import StaleLeaderError
from pipelines.jobs.leader_store import LeaderStore
from pipelines.jobs.models import JobError, Priority, State
from pipelines.jobs.outbox import Delivery, Outbox
from pipelines.jobs.owed import BY_JOB, TEST, Owed, by_job, endpoints_of, owed_at_end, to_all
from serve import webhook_sender
from serve.webhook_sender import Sender
from serve.webhooks import SCHEDULE_S, Deliveries, delay_s

SECRET, OLDER = (f"whsec_{base64.b64encode(bytes([number]) * 32).decode()}" for number in (1, 2))
AT_ONCE = (0.0,) * 5


class Post:
    """A store, an outbox, and deliveries to receivers."""

    def __init__(self, url: str, settings: Settings) -> None:
        self.settings = settings
        self.store = LeaderStore(url, patience=2)
        self.outbox = Outbox(url, patience=2)

    async def end(self, state: State = State.FAILED, **changes: Any) -> str:
        """A job that ends; its message's id."""
        job_id, _ = await self.store.submit(submission(**changes))
        job = await self.store.get(job_id)
        error = JobError(code="encode_failed", message="No.")
        owed = owed_at_end(self.settings, job, state, Priority.NORMAL, error=error, warnings=2, artifacts=0)
        assert await self.store.move(await self.store.lead(), job_id, state, owed=owed)
        return f"msg_{job_id}"

    @asynccontextmanager
    async def delivering(
        self, schedule_s: Sequence[float] = AT_ONCE, *, limit_s: float = 10.0, tls: ssl.SSLContext | None = None
    ) -> AsyncIterator[None]:
        sender = Sender(limit_s=limit_s, tls=tls)
        going = asyncio.create_task(Deliveries(self.settings, self.outbox, sender, schedule_s).run())
        try:
            yield
        finally:
            while not going.done():  # the Redis client may swallow a cancel that comes while it talks
                going.cancel()
                await asyncio.wait([going], timeout=1.0)
            await sender.close()
            assert going.cancelled()

    async def until(self, message: str, state: str, endpoint: str | None = None) -> Delivery:
        """Wait until a message is in a state."""
        name = endpoint or next(iter(endpoints_of(self.settings)))
        async with asyncio.timeout(20):
            while (found := await self.outbox.delivery(f"{message}:{name}")).state != state:
                await asyncio.sleep(0.01)
        return found

    async def until_tried(self, message: str, endpoint: str) -> Delivery:
        async with asyncio.timeout(20):
            while not (found := await self.outbox.delivery(f"{message}:{endpoint}")).attempts:
                await asyncio.sleep(0.01)
        return found


@pytest.fixture
def hook() -> Iterator[Receiver]:
    with receiver() as running:
        yield running


@pytest.fixture
def post(private_redis, tmp_path, hook):
    """Run a test's body with a post office."""
    url = wiped(private_redis)

    def run(body: Any, **changes: Any) -> None:
        async def main() -> None:
            given = {"webhook_urls": (SecretStr(hook.url),), "webhook_secret": SecretStr(SECRET), **changes}
            office = Post(url, Settings(home=tmp_path, **given))
            try:
                await body(office)
            finally:
                await office.store.close()
                await office.outbox.close()

        asyncio.run(main())

    return run


async def soon(hook: Receiver) -> Any:
    return await asyncio.to_thread(hook.next)


# What is told


def test_a_job_s_end_is_told_signed(post, hook):
    async def body(office: Post) -> None:
        message = await office.end()
        async with office.delivering():
            got = await soon(hook)
            told = got.verified(SECRET)
            await office.until(message, "delivered")
        job = await office.store.get(message.removeprefix("msg_"))
        assert (got.id, got.path, got.headers["content-type"]) == (message, "/hook?key=secret", "application/json")
        assert told["type"] == "job.failed"
        assert datetime.datetime.fromisoformat(told["timestamp"]).timestamp() * 1000 == pytest.approx(job.finished_at)
        assert told["data"]["id"] == job.id
        assert told["data"]["error"]["code"] == "encode_failed"
        with pytest.raises(WebhookVerificationError):
            got.verified(OLDER)

    post(body)


def test_each_end_is_told_once_its_own_way(post, hook):
    async def body(office: Post) -> None:
        messages = {await office.end(State.CANCELLED if number % 2 else State.FAILED) for number in range(20)}
        async with office.delivering():
            got = [await soon(hook) for _ in messages]
            for message in messages:
                await office.until(message, "delivered")
        assert {each.id for each in got} == messages
        assert {each.verified(SECRET)["type"] for each in got} == {"job.failed", "job.cancelled"}
        assert hook.got.empty()

    post(body)


def test_only_what_is_wanted_is_owed(post):
    async def body(office: Post) -> None:
        await office.end(State.CANCELLED)
        await office.end(State.FAILED)
        assert (await office.outbox.owed_count())["pending"] == 1

    post(body, webhook_events=("job.failed",))


def test_an_end_that_is_written_twice_or_by_a_stale_leader_owes_nothing_more(post):
    async def body(office: Post) -> None:
        ended = (await office.end()).removeprefix("msg_")
        other, _ = await office.store.submit(submission())
        owed = Owed("msg_other", "job.failed", {}, to_all(office.settings))
        epoch = await office.store.lead()
        assert await office.store.move(epoch, ended, State.FAILED, owed=owed)
        assert not await office.store.move(epoch, ended, State.CANCELLED, owed=owed)
        with pytest.raises(StaleLeaderError):
            await office.store.move(epoch - 1, other, State.FAILED, owed=owed)
        assert (await office.outbox.owed_count())["pending"] == 1

    post(body)


def test_a_message_is_signed_by_each_secret(post, hook):
    async def body(office: Post) -> None:
        await office.end()
        async with office.delivering():
            got = await soon(hook)
        assert got.verified(SECRET) == got.verified(OLDER)

    post(body, webhook_secret=SecretStr(f"{SECRET} {OLDER}"))


def test_a_secret_that_changes_in_its_file_is_taken_at_once(post, hook, tmp_path):
    file = tmp_path / "secret"
    file.write_text(f"{OLDER}\n")

    async def body(office: Post) -> None:
        async with office.delivering():
            await office.end()
            (await soon(hook)).verified(OLDER)
            file.write_text(f"{SECRET}\n")
            await office.end()
            (await soon(hook)).verified(SECRET)

    post(body, webhook_secret=None, webhook_secret_file=file)


# Again and again


def test_a_receiver_that_fails_for_a_while_gets_the_same_message_until_it_takes_it(post, hook):
    hook.answers = [500, 404, 302]
    hook.headers = {"Location": "/elsewhere"}

    async def body(office: Post) -> None:
        message = await office.end()
        async with office.delivering():
            got = [await soon(hook) for _ in range(4)]
            taken = await office.until(message, "delivered")
        assert (taken.attempts, taken.answer) == (4, "204")
        assert len({(each.id, each.body, each.path) for each in got}) == 1
        assert hook.got.empty()
        for each in got:
            each.verified(SECRET)

    post(body)


def test_a_process_that_ends_before_it_knows_the_answer_leaves_the_message_to_the_next(post, hook):
    async def body(office: Post) -> None:
        hook.hold.clear()
        message = await office.end()
        async with office.delivering():
            first = await soon(hook)
        hook.hold.set()
        assert (await office.outbox.owed_count())["pending"] == 1
        async with office.delivering():
            second = await soon(hook)
            await office.until(message, "delivered")
        assert (second.id, second.body) == (first.id, first.body)

    post(body)


def test_a_message_is_given_up_after_the_schedule_and_sent_again_when_asked(post, hook):
    hook.answers = [500] * 3

    async def body(office: Post) -> None:
        message = await office.end()
        async with office.delivering((0.0, 0.0)):
            first = await soon(hook)
            given_up = await office.until(message, "failed")
            assert (given_up.attempts, given_up.answer) == (3, "500")
            assert [each.id for each in (await office.outbox.deliveries("failed", limit=5, cursor=None))[0]] == [
                given_up.id
            ]
            for _ in range(2):
                await soon(hook)
            await office.outbox.resend(given_up.id)
            again = await soon(hook)
            await office.until(message, "delivered")
        assert again.id == first.id
        assert (await office.outbox.owed_count()) == {"pending": 0, "failed": 0, "delivered": 1}

    post(body)


def test_nobody_listening_is_an_attempt(post, hook):
    async def body(office: Post) -> None:
        message = await office.end()
        async with office.delivering(()):
            assert (await office.until(message, "failed")).answer == "unreachable"

    post(body, webhook_urls=(SecretStr("http://127.0.0.1:9/hook"),))


def test_an_answer_that_doesn_t_come_is_an_attempt(post, hook):
    hook.hold.clear()

    async def body(office: Post) -> None:
        message = await office.end()
        async with office.delivering((), limit_s=0.2):
            assert (await office.until(message, "failed")).answer == "timeout"

    post(body)


def test_an_answer_isn_t_read_to_its_end(post, hook):
    hook.endless = True

    async def body(office: Post) -> None:
        message = await office.end()
        async with office.delivering():
            await office.until(message, "delivered")

    post(body)


def test_a_receiver_that_hangs_holds_up_no_other(post, hook):
    async def body(office: Post) -> None:
        with receiver() as slow:
            slow.hold.clear()
            office.settings = office.settings.model_copy(
                update={"webhook_urls": (SecretStr(slow.url), SecretStr(hook.url))}
            )
            _, well = endpoints_of(office.settings)
            async with office.delivering():
                for message in [await office.end() for _ in range(10)]:
                    await office.until(message, "delivered", well)

    post(body)


def test_delays_grow_by_the_schedule_give_or_take_a_fifth():
    assert delay_s(0, SCHEDULE_S, lambda: 0.5) == 5
    assert delay_s(1, SCHEDULE_S, lambda: 0.0) == pytest.approx(240)
    assert delay_s(1, SCHEDULE_S, lambda: 1.0) == pytest.approx(360)
    assert delay_s(len(SCHEDULE_S), SCHEDULE_S, lambda: 0.5) is None


def test_a_receiver_may_ask_for_more_time(post, hook):
    hook.answers, hook.headers = [503], {"Retry-After": "3600"}

    async def body(office: Post) -> None:
        message = await office.end()
        (endpoint,) = endpoints_of(office.settings)
        async with office.delivering():
            tried = await office.until_tried(message, endpoint)
            assert (tried.state, tried.answer) == ("pending", "503")
            assert await office.outbox.due(endpoint, 1) == []

    post(body)


# Receivers that go


def test_a_receiver_that_is_gone_gets_nothing_more_until_somebody_asks_for_it(post, hook):
    hook.answers = [410]

    def given_up() -> float:
        return REGISTRY.get_sample_value("mediaray_webhook_attempts_total", {"outcome": "given_up"}) or 0.0

    before = given_up()

    async def body(office: Post) -> None:
        (endpoint,) = endpoints_of(office.settings)
        async with office.delivering():
            gone = await office.end()
            await office.until(gone, "failed")
            await soon(hook)
            assert endpoint in await office.outbox.disabled()
            assert (await office.until(await office.end(), "failed")).answer == "endpoint_disabled"
            assert hook.got.empty()
            await office.outbox.resend(f"{gone}:{endpoint}")
            assert (await soon(hook)).id == gone
            assert given_up() - before == 2  # the refused one, too: an alert watches that
            await office.until(gone, "delivered")
            await office.until(await office.end(), "delivered")
        assert await office.outbox.disabled() == {}

    post(body)


def test_a_test_goes_to_a_receiver_that_was_gone(post, hook):
    hook.answers = [410]

    async def body(office: Post) -> None:
        async with office.delivering():
            await office.until(await office.end(), "failed")
            await office.outbox.tell(Owed("msg_test", TEST, {}, to_all(office.settings)))
            await office.until("msg_test", "delivered")
        assert await office.outbox.disabled() == {}

    post(body)


def test_what_is_owed_to_a_receiver_that_the_settings_don_t_have_any_more_is_given_up(post):
    async def body(office: Post) -> None:
        message = await office.end()
        (before,) = endpoints_of(office.settings)
        office.settings = office.settings.model_copy(update={"webhook_urls": ()})
        async with office.delivering():
            assert (await office.until(message, "failed", before)).answer == "endpoint_removed"
        assert before not in await office.outbox.endpoints()

    post(body)


def test_no_more_is_kept_than_so_many(post, monkeypatch):
    monkeypatch.setattr(outbox_module, "MOST_PENDING", 2)
    monkeypatch.setattr(outbox_module, "MOST_FAILED", 1)

    async def body(office: Post) -> None:
        messages = [await office.end() for _ in range(4)]
        await office.outbox.forget_surplus()
        assert await office.outbox.owed_count() == {"pending": 2, "failed": 1, "delivered": 0}
        pending, _ = await office.outbox.deliveries("pending", limit=10, cursor=None)
        assert [each.message for each in pending] == messages[:1:-1]

    post(body)


def test_all_that_is_too_much_is_forgotten_however_much_it_is(post, monkeypatch):
    monkeypatch.setattr(outbox_module, "_AT_ONCE", 2)
    for most in ("MOST_PENDING", "MOST_FAILED", "MOST_DELIVERED"):
        monkeypatch.setattr(outbox_module, most, 1)

    async def body(office: Post) -> None:
        for _ in range(14):
            await office.end()
        waiting, _ = await office.outbox.deliveries("pending", limit=14, cursor=None)
        for each in waiting[:7]:
            await office.outbox.settle(each, "delivered", "204")
        await office.outbox.forget_surplus()
        assert await office.outbox.owed_count() == {"pending": 1, "failed": 1, "delivered": 1}

    post(body)


# Receivers that a job names


def place(hook: Receiver) -> str:
    return hook.url.split("/")[2]


def for_jobs(*hooks: Receiver) -> dict[str, Any]:
    return {"webhook_urls": (), "webhook_hosts": tuple(map(place, hooks))}


def test_a_job_s_own_receiver_is_told(post, hook):
    async def body(office: Post) -> None:
        message = await office.end(webhook=hook.url)
        async with office.delivering():
            (await soon(hook)).verified(SECRET)
            await office.until(message, "delivered", by_job(place(hook)))

    post(body, **for_jobs(hook), webhook_private=True)


def test_a_job_s_own_receiver_that_hangs_holds_up_none_on_another_host(post, hook):
    async def body(office: Post) -> None:
        with receiver() as slow:
            slow.hold.clear()
            office.settings = office.settings.model_copy(update=for_jobs(slow, hook))
            for _ in range(24):
                await office.end(webhook=slow.url)
            message = await office.end(webhook=hook.url)
            async with office.delivering(limit_s=60.0):
                await office.until(message, "delivered", by_job(place(hook)))

    post(body, webhook_urls=(), webhook_private=True)


def test_a_message_that_hangs_holds_up_none_after_it(post, hook):
    async def body(office: Post) -> None:
        with receiver() as slow:
            slow.hold.clear()
            places = (place(slow), place(hook))
            office.settings = office.settings.model_copy(update={"webhook_hosts": places})
            # One queue for both, as there was before: so one of them hangs while the others are taken.
            await office.outbox.tell(Owed("msg_hangs", "job.failed", {}, {BY_JOB: slow.url}))
            for number in range(20):
                await office.outbox.tell(Owed(f"msg_{number}", "job.failed", {}, {BY_JOB: hook.url}))
            async with office.delivering(limit_s=60.0):
                for number in range(20):
                    await office.until(f"msg_{number}", "delivered", BY_JOB)
            assert (await office.outbox.delivery(f"msg_hangs:{BY_JOB}")).state == "pending"

    post(body, webhook_urls=(), webhook_private=True)


def test_a_job_s_own_receiver_at_an_address_that_isn_t_public_is_refused(post, hook):
    async def body(office: Post) -> None:
        message = await office.end(webhook=hook.url)
        async with office.delivering():
            refused = await office.until(message, "failed", by_job(place(hook)))
        assert (refused.answer, refused.attempts) == ("address_refused", 1)
        assert hook.got.empty()

    post(body, **for_jobs(hook))


def test_a_job_s_own_receiver_on_a_host_that_isn_t_allowed_any_more_is_refused(post, hook):
    async def body(office: Post) -> None:
        message = await office.end(webhook="http://elsewhere.example.com/")
        async with office.delivering():
            assert (await office.until(message, "failed", by_job("elsewhere.example.com"))).answer == "host_refused"

    post(body, **for_jobs(hook), webhook_private=True)


def test_a_job_s_own_receiver_that_is_gone_stands_for_no_other(post, hook):
    hook.answers = [410]

    async def body(office: Post) -> None:
        async with office.delivering():
            gone = await office.end(webhook=hook.url)
            assert (await office.until(gone, "failed", by_job(place(hook)))).answer == "410"
            await office.until(await office.end(webhook=hook.url), "delivered", by_job(place(hook)))

    post(body, **for_jobs(hook), webhook_private=True)


def certificate(name: str, folder: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A server's context with a certificate of this name, and a client's that trusts it."""
    key = ec.generate_private_key(ec.SECP256R1())
    named = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(named)
        .issuer_name(named)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    file = folder / f"{name}.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(file)
    client = ssl.create_default_context(cafile=str(file))
    client.verify_flags &= ~ssl.VERIFY_X509_STRICT  # it has nothing of what that wants of an authority
    return server, client


@pytest.mark.parametrize(("name", "answer"), [("localhost", "204"), ("elsewhere.example.com", "unreachable")])
def test_the_certificate_is_looked_at_by_the_name_though_the_address_is_pinned(tmp_path, monkeypatch, name, answer):
    monkeypatch.setattr(webhook_sender, "is_public", lambda _: True)
    server, client = certificate(name, tmp_path)

    async def body(hook: Receiver) -> None:
        sender = Sender(limit_s=10, tls=client)
        told = await sender.send(hook.url, "msg_1", "{}", [SECRET], public_only=True)
        await sender.close()
        assert str(told) == answer
        if told.taken:
            assert hook.next().headers["host"] == hook.url.split("/")[2]

    with receiver(server) as hook:
        asyncio.run(body(hook))


def test_attempts_are_counted_by_what_came_of_them(post, hook):
    hook.answers = [500]

    def counted() -> list[float]:
        name = "mediaray_webhook_attempts_total"
        return [REGISTRY.get_sample_value(name, {"outcome": each}) or 0.0 for each in ("taken", "again", "given_up")]

    before = counted()

    async def body(office: Post) -> None:
        message = await office.end()
        async with office.delivering():
            await office.until(message, "delivered")

    post(body)
    assert [now - then for now, then in zip(counted(), before, strict=True)] == [1, 1, 0]
