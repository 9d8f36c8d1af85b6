"""Collections: a library of thousands of small files; bulk thumbnails by the bare kernel and other pipelines."""

import io
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import wave
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from PIL import Image

from pipelines.media.sample import make_sample
from tests.bench.figures import Figure, percentile
from tests.bench.photos import ROOT, photos
from tests.live_server import LiveServer, live_server, until

FILES, BROKEN_EVERY = 20_000, 50
_TOUCHED = 100  # every so many
_PEERS = ROOT / "build" / "bench" / "peers"
_THUMBNAILS = {"task": "image-thumbnails", "task_params": {"sizes": ["320"]}}
_SAMPLE_S = 0.5
_BY_OTHERS = 400  # pictures: they are slow
_SEED = 6


def library() -> list[Figure]:
    """Import, enrich and thumbnails of many small files: all done, memory flat; the second time nearly free."""
    with _server(small_files(FILES)) as (server, folder):
        watch = _Watch(server)
        with watch.sampling(), _probing(server, folder) as probed:
            began = time.monotonic()
            first = [_run(server, watch, *step) for step in _steps(folder)]
            first_s = time.monotonic() - began
        again_s, again = _timed(lambda: [_run(server, None, *step) for step in _steps(folder)])
        touched = _touch(folder)
        until(lambda: time.time() - touched[-1].stat().st_ctime > 2.1, 10, lambda: "")
        third = [_run(server, None, *step) for step in _steps(folder)]
    broken = FILES // BROKEN_EVERY
    thumbnails = first[2]
    return [
        Figure(f"{FILES} files: import, enrich, thumbnails", first_s, "s", None, f"{first[0]['kinds']}"),
        Figure("good pictures done (bar: all)", thumbnails["done"], "", _good_pictures()),
        Figure("broken pictures told (bar: all)", thumbnails["failed"], "", broken, f"{thumbnails['codes']}"),
        *watch.growth(),
        Figure("a probe posted meanwhile, p99 (bar 1 s)", percentile(probed, 99), "s", 1.0, f"{len(probed)} of them"),
        Figure("the second time, nothing changed (bar 50 x faster)", again_s, "s", first_s / 50),
        Figure("known of it (bar 0.99)", again[2]["known"] / again[2]["files"], "", 0.99),
        Figure("redone after 1 % was touched", third[2]["done"], "", len(touched)),
    ]


def _steps(folder: Path) -> list[tuple[str, str, dict[str, Any]]]:
    return [
        ("collection-import", str(folder), {"into": "library"}),
        ("collection-enrich", "collection:library", {}),
        ("collection-process", "collection:library", _THUMBNAILS),
    ]


def _run(server: LiveServer, watch: "_Watch | None", operation: str, source: str, params: dict[str, Any]) -> Any:
    job = server.submit(operation, source, **params)
    if watch is not None:
        watch.follow(operation)
    ended = server.wait(job["id"], limit_s=3600)
    assert ended["state"] == "succeeded", ended["error"]
    return ended["result"]


def _timed(work: Callable[[], Any]) -> tuple[float, Any]:
    began = time.monotonic()
    made = work()
    return time.monotonic() - began, made


@dataclass
class _Watch:
    """Memory of the processes that do bulk work, while an operation runs."""

    server: LiveServer
    following: str | None = None
    samples: dict[str, list[dict[int, float]]] = field(default_factory=dict)
    names: dict[int, str] = field(default_factory=dict)

    def follow(self, operation: str) -> None:
        self.following = operation

    @contextmanager
    def sampling(self) -> Iterator[None]:
        ended = threading.Event()
        thread = threading.Thread(target=self._sample, args=(ended,))
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def _sample(self, ended: threading.Event) -> None:
        while not ended.wait(_SAMPLE_S):
            if self.following is None:
                continue
            self.samples.setdefault(self.following, []).append(self._mib())

    def _mib(self) -> dict[int, float]:
        """Of each process, by its id."""
        mib = {}
        assert self.server.process is not None
        for process in psutil.Process(self.server.process.pid).children(recursive=True):
            try:
                name = process.cmdline()[0].strip()
                if any(part in name for part in ("collection_", "MapWorker")):
                    mib[process.pid] = process.memory_full_info().uss / (1 << 20)
                    self.names[process.pid] = name
            except (psutil.Error, IndexError):  # it has ended
                continue
        return mib

    def growth(self) -> list[Figure]:
        """Of the process that grew most; how many there are is no matter of how far the job is."""
        figures = []
        for operation, samples in self.samples.items():
            tenth = max(1, len(samples) // 10)
            early, late = _most(samples[2 * tenth : 3 * tenth]), _most(samples[-tenth:])
            grown = {pid: late[pid] / early[pid] for pid in early.keys() & late.keys()}
            if grown:
                pid = max(grown, key=lambda each: grown[each])
                what = f"{operation}: memory of a driver or worker at its end (bar 1.10 x that after a quarter)"
                how = f"{self.names[pid][:40]}, the one of {len(grown)} that grew most; it had {early[pid]:.0f} MiB"
                figures.append(Figure(what, late[pid], "MiB", early[pid] * 1.1, how))
        return figures


def _most(samples: list[dict[int, float]]) -> dict[int, float]:
    """Of each process the most it had."""
    most: dict[int, float] = {}
    for sample in samples:
        most |= {pid: max(mib, most.get(pid, 0.0)) for pid, mib in sample.items()}
    return most


@contextmanager
def _probing(server: LiveServer, folder: Path) -> Iterator[list[float]]:
    """Probes posted one after the other while the body runs; the seconds that each took."""
    film = make_sample(server.folder / "probed.mkv", duration_s=1, width=128, height=72)
    took: list[float] = []
    ended = threading.Event()

    def probe() -> None:
        while not ended.wait(1.0):
            began = time.monotonic()
            server.wait(server.submit("probe", film, fresh=True)["id"])
            took.append(time.monotonic() - began)

    thread = threading.Thread(target=probe)
    thread.start()
    try:
        yield took
    finally:
        ended.set()
        thread.join()


def _touch(folder: Path) -> list[Path]:
    """Give some pictures another content."""
    touched = []
    for number in range(3, FILES, _TOUCHED):
        path = next(folder.glob(f"{number % 100:02d}/{number:05d}.*"))
        if path.suffix in (".jpg", ".png"):
            path.write_bytes(_picture(number + FILES, path.suffix))
            touched.append(path)
    return touched


def small_files(count: int) -> Path:
    """A library of ``count`` distinct small files: pictures, some sound and films, 2 % broken. Made once."""
    folder = ROOT / "build" / "bench" / f"library-{count}"
    if not folder.is_dir():
        making = folder.with_name(f"{folder.name}.part")
        shutil.rmtree(making, ignore_errors=True)
        making.mkdir(parents=True)
        film = make_sample(making / "film.mp4", duration_s=1, width=128, height=72)
        content = film.read_bytes()
        film.unlink()
        for number in range(count):
            name, data = _small(number, content)
            path = making / f"{number % 100:02d}" / name
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(data)
        making.rename(folder)
    return folder


def _small(number: int, film: bytes) -> tuple[str, bytes]:
    if number % BROKEN_EVERY == 0:
        return f"{number:05d}.jpg", b"\xff\xd8\xff\xe0" + random.Random(number).randbytes(200)
    if number % 25 == 1:
        return f"{number:05d}.wav", _sound(number)
    if number % 100 == 2:  # a free box behind a film: another content, the same film
        return f"{number:05d}.mp4", film + (16).to_bytes(4, "big") + b"free" + number.to_bytes(8, "big")
    suffix = ".png" if number % 10 == 3 else ".jpg"
    return f"{number:05d}{suffix}", _picture(number, suffix)


def _good_pictures() -> int:
    return sum(n % BROKEN_EVERY != 0 and n % 25 != 1 and n % 100 != 2 for n in range(FILES))


def _picture(number: int, suffix: str) -> bytes:
    coarse = np.random.default_rng((_SEED, number)).integers(0, 256, (9, 12, 3), dtype=np.uint8)
    data = io.BytesIO()
    Image.fromarray(coarse).resize((240, 180)).save(data, "PNG" if suffix == ".png" else "JPEG")
    return data.getvalue()


def _sound(number: int) -> bytes:
    data = io.BytesIO()
    with wave.open(data, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(8000)
        sound.writeframes(random.Random(number).randbytes(3200))
    return data.getvalue()


@contextmanager
def _server(library: Path) -> Iterator[tuple[LiveServer, Path]]:
    """A server, and a copy of the library for it that may be changed."""
    with live_server(MEDIARAY_ROOTS=json.dumps([str(ROOT)])) as server:
        folder = server.folder / "library"
        shutil.copytree(library, folder)
        hour_ago_s = time.time() - 3600
        newest = server.folder / "newest"
        for path in folder.rglob("*.*"):
            os.utime(path, (hour_ago_s, hour_ago_s))
        newest.touch()
        until(lambda: time.time() - newest.stat().st_ctime > 2.1, 10, lambda: "")
        yield server, folder


# Throughput


def bulk() -> list[Figure]:
    """Bulk thumbnails in the steady state, against the bare kernel; and against pipelines people would write."""
    return [*_steady(3, 0.75, 5000, peers=True), *_steady(6, 0.85, 5000)]


def _steady(megapixels: int, bar: float, count: int, *, peers: bool = False) -> list[Figure]:
    distinct = _photos(megapixels)
    with tempfile.TemporaryDirectory(dir=ROOT / "build") as name:
        folder = Path(name) / "photos"
        folder.mkdir()
        for number in range(count):  # distinct files: each with its number behind its end
            source = distinct[number % len(distinct)]
            (folder / f"{number:05d}.jpg").write_bytes(source.read_bytes() + number.to_bytes(8, "big"))
        before = _kernel(folder, Path(name) / "kernel")
        with live_server(MEDIARAY_ROOTS=json.dumps([str(ROOT)])) as server:
            _run(server, None, "collection-import", str(folder), {"into": "photos"})
            job = server.submit("collection-process", "collection:photos", **_THUMBNAILS)
            told = [(time.monotonic(), each["progress"]) for each in _events(server, job["id"])]
            assert server.job(job["id"])["state"] == "succeeded", server.job(job["id"])["error"]
        after = _kernel(folder, Path(name) / "kernel-again")
        others = _others(folder, Path(name)) if peers else {}
    kernel = 2 * count / (before + after)
    begun = next(each for each in told if each[1] >= 0.1)
    ended = next(each for each in told if each[1] >= 0.9)
    steady = (ended[1] - begun[1]) * count / (ended[0] - begun[0])
    how = f"{count} JPEGs of {megapixels} MP to 320 px; between a tenth and nine tenths"
    return [
        Figure(f"bulk thumbnails of {megapixels} MP, by the bare kernel (bar {bar})", steady / kernel, "", bar, how),
        Figure("that is", steady, "/s", kernel, "the kernel on two threads"),
        *(Figure(f"against {who}", steady, "/s", rate, f"{_BY_OTHERS} of them") for who, rate in others.items()),
    ]


def _others(source: Path, folder: Path) -> dict[str, float]:
    """Pictures a second of the pipelines that people write with Daft and with Ray Data."""
    some = folder / "some"
    some.mkdir()
    for file in sorted(source.iterdir())[:_BY_OTHERS]:
        os.link(file, some / file.name)
    scripts = Path(__file__).parent / "peers"
    commands = {
        "Daft (bar 4, more is better)": [_daft(), scripts / "daft_images.py"],
        "Ray Data and Pillow (bar 8, more is better)": [sys.executable, scripts / "ray_data_images.py"],
    }
    rates = {}
    for number, (who, command) in enumerate(commands.items()):
        target = folder / f"other-{number}"
        told = subprocess.run([*command, some, target, "320"], check=True, capture_output=True, text=True)
        assert len(list(target.iterdir())) == _BY_OTHERS, who
        rates[who] = _BY_OTHERS / float(told.stdout.split()[-1])
    return rates


def _daft() -> Path:
    """The interpreter of an environment that has Daft, made in ``build``."""
    python = _PEERS / "daft" / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", _PEERS / "daft"], check=True)
        subprocess.run([python, "-m", "pip", "install", "-q", "daft==0.7.26", "pillow"], check=True)
    return python


def _events(server: LiveServer, job_id: str) -> Iterator[dict[str, Any]]:
    with server.events(job_id) as socket:
        for text in socket:
            yield json.loads(text)


def _photos(megapixels: int) -> list[Path]:
    """A hundred distinct photographs of one size."""
    folder = ROOT / "build" / "bench" / f"photos-{megapixels}mp"
    if not folder.is_dir():
        making = folder.with_name(f"{folder.name}.part")
        shutil.rmtree(making, ignore_errors=True)
        making.mkdir(parents=True)
        width = int((megapixels * 1e6 * 4 / 3) ** 0.5)
        for source in sorted(photos(500).iterdir())[:100]:
            with Image.open(source) as image:
                image.convert("RGB").resize((width, width * 3 // 4)).save(making / source.name, quality=88)
        making.rename(folder)
    return sorted(folder.iterdir())


def _kernel(source: Path, target: Path) -> float:
    """Seconds that the bare kernel takes on two threads, in a process of its own."""
    command = [sys.executable, "-m", "tests.bench.images", str(source), str(target), "jpeg", "320"]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
