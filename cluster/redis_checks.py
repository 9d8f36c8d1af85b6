"""How the three Redises are that a server may have: the job store, the cache, and Ray's own tables."""

from collections.abc import Mapping
from typing import Any

import redis

from cluster.cache import AWAY, connect
from cluster.checks import Check
from cluster.redis_server import durable_lacks, redis_trouble

_ANSWER_S = 3.0
_FULL = 0.8
_UNLIMITED = 0  # what Redis tells of a limit where there is none


def store_check(url: str, fsync: str, *, private: bool) -> Check:
    """The job store: it answers, keeps each write as ``fsync`` says, never evicts, and can write to its disk.

    One that isn't the server's own (``private``) is to have a limit, too.
    """
    try:
        with redis.Redis.from_url(
            url, decode_responses=True, socket_timeout=_ANSWER_S, socket_connect_timeout=_ANSWER_S
        ) as client:
            lacks = durable_lacks(client, fsync)
            facts: dict[str, Any] = {}
            for section in ("server", "persistence", "memory"):
                facts |= client.info(section)
    except (redis.RedisError, OSError, ValueError) as error:
        advice = "No jobs are accepted until it does. See MediarayStoreDown in the runbooks."
        return Check("store", "fail", f"doesn't answer: {redis_trouble(error)}", advice)
    found = f"Redis {facts['redis_version']}, appendfsync {fsync}, noeviction, {_memory(facts)}"
    if lacks:
        advice = f"It could lose accepted jobs. Set, in it and in its file: {', '.join(lacks)} (CONFIG SET)."
        return Check("store", "fail", f"Redis {facts['redis_version']} lacks {', '.join(lacks)}", advice)
    if facts.get("aof_last_write_status", "ok") != "ok":
        return Check("store", "fail", "can't write to its disk", "Make room there. See MediarayStoreCantWrite.")
    if facts["maxmemory"] != _UNLIMITED and facts["used_memory"] > _FULL * facts["maxmemory"]:
        advice = "At its limit it refuses new jobs: raise maxmemory, or keep less. See MediarayStoreMemory."
        return Check("store", "warn", found, advice)
    if facts["maxmemory"] == _UNLIMITED and not private:
        advice = "It grows until its machine has no memory left, and MediarayStoreMemory can't warn. Set maxmemory."
        return Check("store", "warn", f"{found}, no limit", advice)
    return Check("store", "ok", found)


def cache_check(url: str) -> Check:
    """The cache: it answers, and may evict."""
    try:
        client = connect(url)
        with client:
            servers = (
                [client]
                if isinstance(client, redis.Redis)
                else [client.get_redis_connection(node) for node in client.get_primaries()]
            )
            each = [server.info("memory") for server in servers]
    except (*AWAY, redis.RedisError, ValueError) as error:
        advice = "All works without it, and takes longer; progress stands still. See MediarayCacheDown in the runbooks."
        return Check("cache", "fail", f"doesn't answer: {redis_trouble(error)}", advice)
    found = "; ".join(f"{facts.get('maxmemory_policy')}, {_memory(facts)}" for facts in each)
    if any(facts["maxmemory"] == _UNLIMITED for facts in each):
        advice = "It grows until the machine has no memory left. Set maxmemory, and maxmemory-policy allkeys-lfu."
        return Check("cache", "warn", found, advice)
    if any(facts.get("maxmemory_policy") == "noeviction" for facts in each):
        advice = "Once full, it takes nothing new, and live progress with it. Set maxmemory-policy allkeys-lfu."
        return Check("cache", "warn", found, advice)
    return Check("cache", "ok", found)


def tables_check(environment: Mapping[str, str]) -> Check:
    """The Redis of Ray's tables, where the head's environment names one."""
    address = environment.get("RAY_REDIS_ADDRESS")
    if not address:
        return Check("ray tables", "ok", "in the head's memory: a head that is lost begins anew, and jobs go on")
    url = address if "://" in address else f"redis://{address}"
    password = environment.get("RAY_REDIS_PASSWORD") or environment.get("REDIS_PASSWORD") or None
    try:
        with redis.Redis.from_url(
            url,
            password=password,
            decode_responses=True,
            socket_timeout=_ANSWER_S,
            socket_connect_timeout=_ANSWER_S,
        ) as client:
            facts = client.info("memory")
    except (redis.RedisError, OSError, ValueError) as error:
        advice = "Ray ends where its tables are gone. Is it up, and is the password right?"
        return Check("ray tables", "fail", f"their Redis doesn't answer: {redis_trouble(error)}", advice)
    found = f"{facts.get('maxmemory_policy')}, {_memory(facts)}"
    if facts["maxmemory"] != _UNLIMITED and facts.get("maxmemory_policy") != "noeviction":
        advice = "It may evict Ray's tables, which ends the cluster. Set maxmemory-policy noeviction."
        return Check("ray tables", "fail", found, advice)
    return Check("ray tables", "ok", found)


def _memory(facts: Mapping[str, Any]) -> str:
    limit = f" of {facts['maxmemory'] / 2**20:.0f}" if facts["maxmemory"] != _UNLIMITED else ""
    return f"{facts['used_memory'] / 2**20:.0f}{limit} MiB"
