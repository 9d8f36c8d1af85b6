"""The cache: how many reads of a Zipf load it serves, how fast the edge answers the second look, and a stampede."""

import asyncio
import os
import shutil
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

import httpx
import numpy as np
import redis
from numpy.typing import NDArray
from PIL import Image

from cluster.cache import Cache, Version, address_of
from cluster.redis_server import PrivateRedis, cache_options
from pipelines.media.probing.probe import probe
from pipelines.media.sample import make_sample
from tests.bench.figures import Figure, percentile
from tests.live_server import LiveServer, live_server

FILES, SKEW = 10_000, 1.1
WARM_UP, READS = 150_000, 50_000
API_WARM_UP, API_READS = 6_000, 4_000
CLIENTS = 200
_ROOMY_BYTES = 1 << 30


def cache() -> list[Figure]:
    """Hits by a private Redis as servers start it; then metadata of 10,000 files and one picture over a real server."""
    return [*_hits(), *_edge()]


def _chances() -> NDArray[np.float64]:
    """How likely each file is asked for, the likeliest first."""
    weights = np.arange(1, FILES + 1) ** -SKEW
    return np.asarray(weights / weights.sum())


def _reads(count: int, seed: int) -> list[int]:
    chosen: list[int] = np.random.default_rng(seed).choice(FILES, size=count, p=_chances()).tolist()
    return chosen


def _hits() -> list[Figure]:
    figures = []
    with tempfile.TemporaryDirectory(prefix="mrb-") as name:
        folder = Path(name)
        told = probe(make_sample(folder / "clip.mkv", duration_s=0.5)).model_dump_json()
        server = PrivateRedis("cache", folder, folder, cache_options(_ROOMY_BYTES))
        server.spawn()
        server.wait_ready()
        try:
            empty_bytes, full_bytes = _room(server.url, told)
            for share, least in ((0.3, 0.90), (0.2, None)):
                limit_bytes = empty_bytes + int(share * (full_bytes - empty_bytes))
                ratio = hit_ratio(server.url, told, limit_bytes)
                perfect = float(_chances()[: int(share * FILES)].sum())
                how = f"perfect LFU; Zipf {SKEW} over {FILES} files after {WARM_UP} reads"
                figures.append(Figure(f"hits with room for {share:.0%}", ratio, "", perfect, how))
                if least:
                    figures.append(Figure("the same, against the bar", ratio, "", least, "bar"))
        finally:
            server.stop()
    return figures


def _room(url: str, told: str) -> tuple[int, int]:
    """Bytes that the server takes with nothing in it, and with all files."""
    cache = Cache(url)
    with redis.Redis.from_url(url) as client:
        client.flushdb()
        empty_bytes = int(client.info("memory")["used_memory"])
        for number in range(FILES):
            _read(cache, number, told)
        return empty_bytes, int(client.info("memory")["used_memory"])


def hit_ratio(url: str, told: str, limit_bytes: int) -> float:
    """Of ``READS`` reads after the warm-up."""
    cache = Cache(url)
    with redis.Redis.from_url(url) as client:
        client.flushdb()
        client.config_set("maxmemory", limit_bytes)
    for number in _reads(WARM_UP, seed=1):
        _read(cache, number, told)
    return sum(_read(cache, number, told) for number in _reads(READS, seed=2)) / READS


def _read(cache: Cache, number: int, told: str) -> bool:
    """Look at a file's metadata, and keep it where it isn't there; whether it was."""
    at = address_of("probe", [Version(str(number), "", "")], {}, "engine")
    look = cache.look(at)
    if look.value is None:
        cache.put(at, told, "metadata", look)
    return look.value is not None


def _edge() -> list[Figure]:
    with live_server() as server:
        clip = make_sample(server.root / "clip.mkv", duration_s=0.5, width=160, height=90)
        files = [Path(shutil.copy(clip, server.folder / f"{number:05d}.mkv")) for number in range(FILES)]
        picture = server.folder / "picture.jpg"
        Image.effect_noise((2000, 1500), 60).save(picture)
        for number, file in enumerate(files):  # each is a content of its own, by its time
            os.utime(file, (number, number))
        time.sleep(2.5)  # from then on they are trusted
        first, _ = _timed(server, files, _reads(API_WARM_UP, seed=3), set())
        asked = set(_reads(API_WARM_UP, seed=3))
        uncached, warm = _timed(server, files, _reads(API_READS, seed=4), asked)
        again = _from_redis(server, files, sorted(asked)[:500])
        made, new, seconds = asyncio.run(_stampede(server, picture))
    uncached_s = percentile([*first, *uncached], 50)
    how = f"Zipf {SKEW} over {FILES} files, one connection"
    return [
        Figure("GET /v1/media read now, p50", uncached_s * 1000, "ms", None, f"{len(first) + len(uncached)} files"),
        Figure("GET /v1/media asked for before, p50", percentile(warm, 50) * 1000, "ms", 3, f"bar; {how}"),
        Figure("GET /v1/media asked for before, p99", percentile(warm, 99) * 1000, "ms", 10, "bar"),
        Figure("the same against read now, p50", percentile(warm, 50) / uncached_s, "", 0.5, "bar"),
        Figure("GET /v1/media from the cache's Redis, p50", percentile(again, 50) * 1000, "ms", None, "not at hand"),
        Figure("GET /v1/media from the cache's Redis, p99", percentile(again, 99) * 1000, "ms", 10, "bar"),
        Figure(
            f"times that {CLIENTS} clients have a picture made", made, "", 1, f"bar; {new} new file, {seconds:.2f} s"
        ),
    ]


def _timed(
    server: LiveServer, files: list[Path], reads: Iterable[int], asked: set[int]
) -> tuple[list[float], list[float]]:
    """Seconds of each look at a file that wasn't asked for before, and of each at one that was."""
    asked, first, again = set(asked), [], []
    with server.client() as client:
        for number in reads:
            began = time.monotonic()
            answer = client.get("/v1/media", params={"source": str(files[number])})
            (again if number in asked else first).append(time.monotonic() - began)
            assert answer.status_code == 200, answer.text
            asked.add(number)
    return first, again


def _from_redis(server: LiveServer, files: list[Path], numbers: list[int]) -> list[float]:
    """Seconds of each look, after the replica has forgotten what was at hand."""
    with server.client() as client:
        client.delete("/v1/cache", params={"operation": "waveform"}).raise_for_status()
    _, again = _timed(server, files, numbers, set(numbers))
    return again


async def _stampede(server: LiveServer, picture: Path) -> tuple[int, int, float]:
    """How often a picture is made that all ask for at once, how many files it gives, and seconds until all have it."""

    def made() -> int:
        return int(server.get("/v1/health").json()["cache"]["made"])

    def kept() -> int:
        return len(list((server.home / "pictures").glob("*/*")))

    limits = httpx.Limits(max_connections=CLIENTS)
    before, files = made(), kept()
    async with httpx.AsyncClient(base_url=server.url, headers=server.headers, timeout=60, limits=limits) as client:
        query = {"source": str(picture), "w": "317"}
        began = time.monotonic()
        answers = await asyncio.gather(*(client.get("/v1/images", params=query) for _ in range(CLIENTS)))
        took_s = time.monotonic() - began
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.content for answer in answers}) == 1
    return made() - before, kept() - files, took_s
