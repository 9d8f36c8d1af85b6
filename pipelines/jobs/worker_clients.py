"""What a worker process opens once, and keeps: its way to the store, to the cache and its files, and the operations."""

from functools import cache
from pathlib import Path

from cluster.cache import Cache
from cluster.file_cache import FileCache
from cluster.home import Home
from pipelines.jobs.cached_results import CachedResults
from pipelines.jobs.catalogue import Catalogue, Operation
from pipelines.jobs.live import Reporter
from pipelines.jobs.unit_store import UnitStore


@cache
def store_of(redis_url: str) -> UnitStore:
    return UnitStore(redis_url)


@cache
def results_of(cache_url: str) -> CachedResults:
    return CachedResults(cache_of(cache_url))


@cache
def cache_of(cache_url: str) -> Cache:
    return Cache(cache_url)


@cache
def pictures_of(home: Path, limit_bytes: int) -> FileCache:
    return FileCache(Home(home).pictures, limit_bytes)


@cache
def operation_of(module: str) -> Operation:
    return Catalogue.load([module]).only()


@cache
def reporter_of(cache_url: str) -> Reporter:
    return Reporter(cache_url)
