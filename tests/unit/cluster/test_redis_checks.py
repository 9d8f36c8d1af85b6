"""The three Redises, each as a real server that is as it should be, or isn't."""

import pytest

from cluster.errors import StartupError
from cluster.home import Home
from cluster.redis_checks import cache_check, store_check, tables_check
from cluster.redis_server import RedisServers, check_cache, check_durable
from cluster.settings import Settings

DURABLE = ("appendonly yes", "appendfsync always", "maxmemory-policy noeviction")
WRONG = "unix://:hunter2@"


def test_a_store_that_keeps_each_write_is_well(start):
    found = store_check(start(*DURABLE).url, "always", private=True)
    assert (found.status, found.advice) == ("ok", "")


def test_a_private_store_is_held_to_what_was_asked_for(start):
    server = start("appendonly yes", "appendfsync everysec")
    assert store_check(server.url, "everysec", private=True).status == "ok"
    found = store_check(server.url, "always", private=True)
    assert (found.status, "appendfsync always" in found.advice) == ("fail", True)


def test_a_store_that_evicts_or_has_no_file_fails_with_what_to_set(start):
    url = start("appendonly no", "maxmemory 100mb", "maxmemory-policy allkeys-lru").url
    found = store_check(url, "always", private=False)
    assert found.status == "fail"
    for option in ("appendonly yes", "appendfsync always", "maxmemory-policy noeviction"):
        assert option in found.advice


def test_a_store_near_its_limit_is_told(start):
    found = store_check(start(*DURABLE, "maxmemory 1mb").url, "always", private=False)
    assert (found.status, "maxmemory" in found.advice) == ("warn", True)


@pytest.mark.parametrize(("options", "status"), [([], "warn"), (["maxmemory 64mb"], "ok")])
def test_a_store_of_one_s_own_without_a_limit_is_told(start, options, status):
    found = store_check(start(*DURABLE, *options).url, "always", private=False)
    assert (found.status, "Set maxmemory" in found.advice) == (status, status == "warn")


@pytest.mark.parametrize("check", [lambda url: store_check(url, "always", private=False), cache_check])
def test_one_that_isn_t_there_fails_without_its_password(check, short):
    found = check(f"{WRONG}{short}/none.sock")
    assert found.status == "fail"
    assert "hunter2" not in found.found + found.advice


def test_a_wrong_password_is_told_as_one_and_not_shown(start, short):
    start(*DURABLE)
    wrong = f"{WRONG}{short}/redis.sock"
    for found in (store_check(wrong, "always", private=False), cache_check(wrong)):
        assert (found.status, "refuses the password" in found.found) == ("fail", True)
    for check in (check_durable, check_cache):
        with pytest.raises(StartupError, match="refuses the password") as refused:
            check(wrong)
        assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize("url", ["10.0.0.9:6379", "http://hunter2@10.0.0.9", "redis://10.0.0.9:hunter2"])
def test_what_is_no_url_of_a_redis_is_refused_and_not_shown(url):
    for check in (check_durable, check_cache):
        with pytest.raises(StartupError, match="URL is none of a Redis") as refused:
            check(url)
        assert "hunter2" not in str(refused.value)


def test_a_cache_that_is_away_keeps_no_server_from_starting(short, start, caplog):
    home = Home.create(short / "home")
    settings = Settings(home=home.path, redis_url=start(*DURABLE).url, cache_url=f"unix://{short}/none.sock")
    RedisServers(settings, home, short)
    assert "the cache doesn't answer" in caplog.text


def test_a_cache_that_may_evict_is_well(start):
    assert cache_check(start("maxmemory 64mb", "maxmemory-policy allkeys-lfu").url).status == "ok"


@pytest.mark.parametrize(
    ("options", "advice"),
    [
        (["maxmemory 64mb", "maxmemory-policy noeviction"], "maxmemory-policy allkeys-lfu"),
        (["maxmemory-policy allkeys-lfu"], "no memory left"),
    ],
)
def test_a_cache_that_can_t_evict_or_has_no_limit_is_told(start, options, advice):
    found = cache_check(start(*options).url)
    assert found.status == "warn"
    assert advice in found.advice


def test_ray_s_tables_are_looked_at_where_they_have_a_redis(start):
    assert tables_check({}).status == "ok"
    url = start("maxmemory 64mb", "maxmemory-policy allkeys-lru").url
    found = tables_check({"RAY_REDIS_ADDRESS": url})
    assert (found.status, "noeviction" in found.advice) == ("fail", True)
    assert tables_check({"RAY_REDIS_ADDRESS": "127.0.0.1:1"}).status == "fail"
