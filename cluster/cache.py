"""The cache: what was found out once, in a Redis that may evict. While that is away, all works, and takes longer.

An entry lies under a digest of all that its value depends on, with its kind and the generations of its tags as they
were when the work on it began. It counts as long as they are the same: a purge draws a new one for a tag. A generation
that was evicted is drawn anew, too, so that it costs a miss and never gives what was purged. Tags share
``GENERATIONS`` of them by their digests, which are few and asked for all the time: they stay, and a purge takes
about a thousandth of all other entries with it. No command names two keys, so that a Redis Cluster takes them all.
"""

import contextlib
import json
import logging
import secrets
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import astuple, dataclass
from typing import Any, Literal, TypeVar

import redis
from blake3 import blake3
from redis.backoff import NoBackoff
from redis.exceptions import ClusterDownError, LockError, RedisClusterException
from redis.retry import Retry

T = TypeVar("T")
Kind = Literal["metadata", "analysis", "negative"]
Outcome = Literal["hits", "misses", "made"]
Use = Literal["metadata", "picture", "result"]  # what is asked for: of a file, of a page, or by a job

_DAY_S = 24 * 3600
TTL_S: Mapping[Kind, int] = {"metadata": 30 * _DAY_S, "analysis": 30 * _DAY_S, "negative": 600}
GENERATIONS = 1024
PURGES = "mediaray:purges"  # a channel: how many tags are purged
_ENTRY, _GENERATION, _LOCK, _COUNTS = "mediaray:entry", "mediaray:generation", "mediaray:lock", "mediaray:counts"
_ANSWER_S = 0.5
_AWAY_S = 1.0  # for so long it isn't asked again after it failed to answer
_ALONE_S = 10.0  # what takes longer may be made twice, and what was begun by a process that died is made after that
_POLL_S = 0.02
AWAY = (redis.ConnectionError, redis.TimeoutError, ClusterDownError, RedisClusterException, OSError)
_log = logging.getLogger("mediaray.cache")


@dataclass(frozen=True)
class Address:
    """Where a value is kept, and the tags that it is purged by."""

    key: str
    tags: tuple[str, ...]


@dataclass(frozen=True)
class Version:
    """A source as it is: its content's identity, its stamp, and the name that it is called by in a value."""

    identity: str
    stamp: str
    name: str


@dataclass(frozen=True)
class Look:
    """What lies at an address, if anything, and the generations that count now; none: the cache is away."""

    value: str | None = None
    kind: str | None = None
    generations: tuple[str, ...] = ()


@dataclass(frozen=True)
class CacheStats:
    """What the cache has done since it was started, and what it holds. ``made``: of the misses, those worked on."""

    hits: int
    misses: int
    made: int
    keys: int
    size_bytes: int
    limit_bytes: int
    evicted: int


def source_tag(identity: str) -> str:
    """The tag of all that was made of a content."""
    return f"source:{identity}"


def operation_tag(operation: str) -> str:
    return f"operation:{operation}"


def address_of(operation: str, sources: Sequence[Version], params: Mapping[str, Any], engine: str) -> Address:
    """The address of what ``operation`` tells of sources.

    ``params`` are all that change it, ``engine`` are the versions of what does it.
    """
    of = json.dumps([operation, [astuple(each) for each in sources], params, engine], sort_keys=True, ensure_ascii=True)
    tags = (operation_tag(operation), *(source_tag(each.identity) for each in sources))
    return Address(blake3(of.encode()).hexdigest(), tags)


class Troubles:
    """Tells the log of the first trouble of each kind."""

    def __init__(self) -> None:
        self._told: set[type[Exception]] = set()

    def tell(self, what: str, error: Exception) -> None:
        if type(error) not in self._told:
            self._told.add(type(error))
            _log.warning("%s: %s: %s", what, type(error).__name__, str(error)[:200])


class Cache:
    """A process's way to the cache; for any number of threads. ``url`` may be a Redis, with TLS, or a Redis Cluster."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._connected: Any = None
        self._away_until = 0.0
        self._troubles = Troubles()
        self._lock = threading.Lock()
        self._making: dict[str, Future[Any]] = {}

    def look(self, address: Address) -> Look:
        """What lies there."""
        return self._ask(lambda client: _read(client, address)) or Look()

    def put(self, address: Address, value: str, kind: Kind, look: Look) -> None:
        """Keep ``value``, JSON, the work on which was begun after ``look``."""
        if look.generations:
            text = f"{' '.join((kind, *look.generations))}\n{value}"
            self._ask(lambda client: client.set(f"{_ENTRY}:{address.key}", text, ex=TTL_S[kind]))

    def purge(self, tags: Collection[str]) -> bool:
        """Let no entry with one of these tags count any more; False: the cache is away."""
        return self._ask(lambda client: _purge(client, tags)) is not None

    def count(self, what: Outcome, of: Use) -> None:
        """Count towards the ``stats``."""
        self._ask(lambda client: client.hincrby(_COUNTS, f"{what}:{of}", 1))

    def once(self, key: str, find: Callable[[], T | None], make: Callable[[], T], of: Use = "metadata") -> T:
        """What is found under ``key``, or else made, by one caller at a time however many ask for it.

        Those in this process share what one of them gets, or its error. Those in others wait for it some seconds, then
        find what it has kept; while the cache is away, each process makes its own.
        """
        if (found := find()) is not None:
            self.count("hits", of)
            return found
        self.count("misses", of)
        with self._lock:
            others = self._making.get(key)
            mine = self._making.setdefault(key, Future())
        if others is not None:
            return others.result()  # type: ignore[no-any-return]
        try:
            mine.set_result(self._found_or_made(key, find, make, of))
        except BaseException as error:
            mine.set_exception(error)
            raise
        finally:
            with self._lock:
                del self._making[key]
        return mine.result()  # type: ignore[no-any-return]

    def stats(self) -> CacheStats | None:
        """How it is; None: it's away."""
        return self._ask(_stats)

    def counts(self) -> Mapping[tuple[str, str], int] | None:
        """Of the stats what is counted, by its outcome and by what was asked for; None: it's away."""
        return self._ask(_counts)

    def _found_or_made(self, key: str, find: Callable[[], T | None], make: Callable[[], T], of: Use) -> T:
        with self._alone(key):
            if (found := find()) is not None:  # another made it just now
                return found
            self.count("made", of)
            return make()

    @contextlib.contextmanager
    def _alone(self, key: str) -> Iterator[None]:
        """Hold what only one process holds, if it can be had."""
        lock = self._ask(lambda client: _acquired(client, key))
        try:
            yield
        finally:
            if lock is not None:
                self._ask(lambda _: _released(lock))

    def _ask(self, question: Callable[[Any], T]) -> T | None:
        """What Redis answers; None while it is away, or where it refuses."""
        if time.monotonic() < self._away_until:
            return None
        try:
            if self._connected is None:
                self._connected = connect(self._url)
            return question(self._connected)
        except AWAY as error:
            self._away_until = time.monotonic() + _AWAY_S
            self._troubles.tell("the cache doesn't answer", error)
        except redis.RedisError as error:
            self._troubles.tell("the cache refuses what it is asked", error)
        return None


def _acquired(client: Any, key: str) -> Any:
    """The lock of this key, held; None where it can't be had in time."""
    lock = client.lock(f"{_LOCK}:{key}", timeout=_ALONE_S, sleep=_POLL_S, blocking_timeout=_ALONE_S)
    return lock if lock.acquire() else None


def _released(lock: Any) -> None:
    with contextlib.suppress(LockError):  # it has run out
        lock.release()


def connect(url: str) -> Any:
    """A client of a cache's Redis, or of its Redis Cluster. What it raises while that is away is among ``AWAY``."""
    options: dict[str, Any] = {
        "decode_responses": True,
        "socket_timeout": _ANSWER_S,
        "socket_connect_timeout": _ANSWER_S,
        "retry": Retry(NoBackoff(), 1),  # a connection that the server closed is opened anew
    }
    client = redis.Redis.from_url(url, **options)
    if not client.info("cluster").get("cluster_enabled"):
        return client
    client.close()
    return redis.RedisCluster.from_url(url, **options)


def _generation_key(tag: str) -> str:
    number = int.from_bytes(blake3(tag.encode(errors="surrogateescape")).digest(length=8)) % GENERATIONS
    return f"{_GENERATION}:{number}"


def _read(client: Any, address: Address) -> Look:
    names = [_generation_key(tag) for tag in address.tags]
    with client.pipeline(transaction=False) as pipe:
        pipe.get(f"{_ENTRY}:{address.key}")
        for name in names:
            pipe.get(name)
        text, *known = pipe.execute()
    generations = tuple(each or _drawn(client, name) for each, name in zip(known, names, strict=True))
    header, _, value = (text or "").partition("\n")
    kind, *noted = header.split(" ")
    if not value or tuple(noted) != generations:
        return Look(generations=generations)
    return Look(value, kind, generations)


def _drawn(client: Any, name: str) -> str:
    """A new generation, unless another process has just drawn one."""
    drawn = secrets.token_hex(8)
    client.set(name, drawn, nx=True)
    return client.get(name) or drawn


def _purge(client: Any, tags: Collection[str]) -> bool:
    with client.pipeline(transaction=False) as pipe:
        for name in set(map(_generation_key, tags)):
            pipe.set(name, secrets.token_hex(8))
        pipe.execute()
    client.publish(PURGES, len(tags))
    return True


def _counts(client: Any) -> Mapping[tuple[str, str], int]:
    found: dict[tuple[str, str], int] = {}
    for field, count in client.hgetall(_COUNTS).items():
        outcome, _, use = field.partition(":")
        found[outcome, use] = int(count)
    return found


def _stats(client: Any) -> CacheStats:
    counts: Counter[str] = Counter()
    for (outcome, _), count in _counts(client).items():
        counts[outcome] += count
    servers = (
        [client]
        if isinstance(client, redis.Redis)
        else [client.get_redis_connection(n) for n in client.get_primaries()]
    )
    memory = [server.info("memory") for server in servers]
    return CacheStats(
        hits=counts["hits"],
        misses=counts["misses"],
        made=counts["made"],
        keys=sum(server.dbsize() for server in servers),
        size_bytes=sum(each["used_memory"] for each in memory),
        limit_bytes=sum(each["maxmemory"] for each in memory),
        evicted=sum(server.info("stats")["evicted_keys"] for server in servers),
    )
