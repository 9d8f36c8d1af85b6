"""Pictures: our kernel and the whole command against sharp and thumbor's engine; the pool, single jobs, memory."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import psutil
from PIL import Image

from cluster.child import ChildSpec, MediaChild
from cluster.descriptors import SourceDescriptor
from pipelines.media.images.analysis.analyse import analyse
from pipelines.media.images.analysis.analysis_spec import AnalysisSpec
from pipelines.media.images.thumbnail_spec import ThumbnailSpec, ThumbnailsResult
from pipelines.media.images.thumbnails import thumbnails
from tests.bench.figures import Figure, median
from tests.bench.photos import ROOT, SHARED, photos
from tests.live_server import LiveServer, live_server

PEERS = ROOT / "build" / "bench" / "peers"
COUNT, WIDTH, QUALITY = 500, 720, 80
_SAMPLED = 40  # of them, to measure what they look like
_BY_THUMBOR = 100
_SINGLES = 64
_POOLS = 5  # times, in turns
_TIMES = 11  # is each picture analysed
_FUNCTION = "pipelines.media.images.thumbnails:thumbnails"
_SPEC = ThumbnailSpec(sizes=(str(WIDTH),), quality=QUALITY)


def images() -> list[Figure]:
    """The kernel on two threads and the whole command, against the peers; what both look like."""
    if not SHARED.is_dir():
        return []
    sharp, thumbor = _sharp(), _thumbor()
    source = photos(COUNT)
    with tempfile.TemporaryDirectory(dir=ROOT / "build") as name:
        folder = Path(name)
        # In turns, since a machine's speed drifts.
        fast = [sharp(source, folder / "fast", "fast", "jpeg")]
        kernels = [_kernel(source, folder / "kernel", "jpeg")]
        fast.append(sharp(source, folder / "fast", "fast", "jpeg"))
        kernels.append(_kernel(source, folder / "kernel", "jpeg"))
        kernel_s = sum(kernels) / len(kernels)
        accurate_s = sharp(source, folder / "accurate", "accurate", "jpeg")
        whole_s = _whole(source, folder / "whole")
        fast.append(sharp(source, folder / "fast", "fast", "jpeg"))
        some = _some(source, folder / "some", _BY_THUMBOR)
        thumbor_s = thumbor(some, folder / "thumbor") * COUNT / _BY_THUMBOR
        looks = _looks(source, folder, sharp)
    rate, whole_rate = COUNT / kernel_s, COUNT / whole_s
    first, second, third = (COUNT / each for each in fast)
    of = f"{COUNT} JPEGs of 4-12 MP to {WIDTH} px, q{QUALITY}, two at a time"
    return [
        Figure("kernel, 2 threads, against sharp (bar 1.10, more is better)", rate, "/s", (first + second) / 2, of),
        Figure("its PSNR to a full Lanczos, against sharp's (more is better)", looks["ours"], "dB", looks["fast"]),
        Figure("image-thumbnails on a server, against sharp (bar 1.0)", whole_rate, "/s", (second + third) / 2, of),
        Figure("kernel against sharp, fastShrinkOnLoad off (bar 0.95)", rate, "/s", COUNT / accurate_s, of),
        Figure("its PSNR against that sharp's (bar -0.5 dB)", looks["ours"], "dB", looks["accurate"]),
        Figure("image-thumbnails against thumbor's engine (bar 3)", whole_rate, "/s", COUNT / thumbor_s, "one process"),
    ]


def pictures() -> list[Figure]:
    """The pool of a child against pinned processes; single jobs posted at once; memory of a full batch."""
    if not SHARED.is_dir():
        return []
    source = photos(COUNT)
    files = sorted(source.iterdir())[:_SINGLES]
    with tempfile.TemporaryDirectory(dir=ROOT / "build") as name:
        folder = Path(name)
        some = _some(source, folder / "some", _SINGLES)
        child = _child()
        pairs = [(_batch(files, folder, threads=2, child=child), _pinned(files, folder)) for _ in range(_POOLS)]
        child.close()
        pool, pinned = (median(each) for each in zip(*pairs, strict=True))
        kernel_s = _kernel(some, folder / "kernel", "jpeg")
        singles_s = _posted_at_once(files)
        large = _twelve_megapixels(folder / "large")
        peak_mib = _peak_mib(large, folder)
        refused_s = _slowest_refusal(folder)
        cold_ms, warm_ms = _for_pages(folder / "pages")
    return [
        Figure("pool of 2 threads, against two pinned processes (bar 0.95)", _SINGLES / pool, "/s", _SINGLES / pinned),
        Figure(
            f"{_SINGLES} single jobs at once, all done (bar 1.5 x kernel + 1 s)", singles_s, "s", 1.5 * kernel_s + 1
        ),
        Figure(f"peak memory of a child, {_SINGLES} pictures of 12 MP in flight", peak_mib, "MiB", 600, "bar"),
        Figure("the slowest refusal of a hostile picture", refused_s, "s", 2, "bar"),
        Figure("GET /v1/images of a 6 MP JPEG, cold, slowest of 20", cold_ms, "ms", 150, "bar"),
        Figure("GET /v1/images, from the cache, slowest of 100", warm_ms, "ms", 30, "bar"),
    ]


def analysis() -> list[Figure]:
    """What pictures are like, on one thread, against OpenCV's decoder alone: no picture is told of in less."""
    if not SHARED.is_dir():
        return []
    with tempfile.TemporaryDirectory(dir=ROOT / "build") as name:
        large, small = Path(name, "12mp.jpg"), Path(name, "random.jpg")
        Image.open(SHARED / "jpeg_12mp_gainmap.jpg").convert("RGB").resize((4000, 3000)).save(large, quality=90)
        Image.fromarray(np.random.default_rng(1).integers(0, 256, (180, 240, 3)).astype(np.uint8)).save(small)
        rates = {path: (_rate(_analysed, path), _rate(_decoded, path)) for path in (large, small)}
    return [
        Figure("image-analyze of 12 MP, one thread, against decoding alone", rates[large][0], "/s", rates[large][1]),
        Figure("of 240x180 in random colours", rates[small][0], "/s", rates[small][1]),
    ]


def _analysed(path: Path) -> None:
    analyse(path, path, AnalysisSpec())


def _decoded(path: Path) -> None:
    assert cv2.imread(str(path)) is not None


def _rate(done: Callable[[Path], None], path: Path) -> float:
    """Times a second, by the median."""
    took_s = []
    for _ in range(_TIMES):
        began = time.perf_counter()
        done(path)
        took_s.append(time.perf_counter() - began)
    return 1 / median(took_s)


def _sharp() -> Any:
    """sharp, installed by npm into ``build``: a function that gives seconds."""
    here = Path(__file__).parent / "peers"
    if not (PEERS / "node_modules" / "sharp").is_dir():
        PEERS.mkdir(parents=True, exist_ok=True)
        shutil.copy(here / "package.json", PEERS)
        subprocess.run(["npm", "install", "--silent"], cwd=PEERS, check=True)
    shutil.copy(here / "resize.mjs", PEERS)  # node looks for packages beside the script

    def run(source: Path, target: Path, how: str, format_: str) -> float:
        return _told(["node", PEERS / "resize.mjs", source, target, str(WIDTH), how, format_])

    return run


def _thumbor() -> Any:
    python = PEERS / "thumbor" / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", PEERS / "thumbor"], check=True)
        subprocess.run([python, "-m", "pip", "install", "-q", "thumbor==7.8.0"], check=True)

    def run(source: Path, target: Path) -> float:
        script = Path(__file__).parent / "peers" / "thumbor_engine.py"
        return _told([python, "-W", "ignore", script, source, target, str(WIDTH)])

    return run


def _told(command: Sequence[str | Path]) -> float:
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def _some(source: Path, target: Path, count: int) -> Path:
    target.mkdir()
    for file in sorted(source.iterdir())[:count]:
        os.link(file, target / file.name)
    return target


def _kernel(source: Path, target: Path, format_: str) -> float:
    """Seconds, in a process of its own; its start isn't counted, as sharp's isn't."""
    return _told([sys.executable, "-m", "tests.bench.images", str(source), str(target), format_])


def _whole(source: Path, target: Path) -> float:
    with live_server(MEDIARAY_ROOTS=json.dumps([str(ROOT)]), MEDIARAY_OUTPUT_ROOTS=json.dumps([str(ROOT)])) as server:
        # All of it is warm: of sharp the time counts when it is loaded, too.
        server.wait(server.submit("image-thumbnails", source, sizes=["8"])["id"])
        began = time.monotonic()
        params = {"sizes": [str(WIDTH)], "quality": QUALITY, "output": str(target)}
        job = server.submit("image-thumbnails", source, **params)
        with server.events(job["id"]) as socket:
            for _ in socket:
                pass
        took_s = time.monotonic() - began
        done = server.job(job["id"])
    assert done["result"]["failed"] == 0, done
    assert len(list(target.iterdir())) == COUNT
    return took_s


def _looks(source: Path, folder: Path, sharp: Any) -> dict[str, float]:
    """Mean PSNR in dB to a 32-bit Lanczos of the full decode, without the JPEG encoder."""
    some = _some(source, folder / "looked-at", _SAMPLED)
    _kernel(some, folder / "ours", "png")
    for how in ("fast", "accurate"):
        sharp(some, folder / f"{how}-png", how, "png")
    totals = {"ours": 0.0, "fast": 0.0, "accurate": 0.0}
    for path in sorted(some.iterdir()):
        reference = _reference(path)
        made = {
            "ours": folder / "ours" / f"{path.stem}-{WIDTH}w.png",
            **{how: folder / f"{how}-png" / f"{path.stem}.png" for how in ("fast", "accurate")},
        }
        for name, file in made.items():
            totals[name] += _psnr(np.asarray(Image.open(file).convert("RGB")), reference) / _SAMPLED
    return {name: round(total, 2) for name, total in totals.items()}


def _reference(path: Path) -> np.ndarray:
    image = Image.open(path).convert("RGB")
    size = WIDTH, int(image.height * WIDTH / image.width + 0.5)
    planes = [
        Image.fromarray(np.asarray(image, np.float32)[..., band]).resize(size, Image.Resampling.LANCZOS)
        for band in range(3)
    ]
    return np.clip(np.stack([np.asarray(plane) for plane in planes], axis=-1), 0, 255)


def _psnr(made: np.ndarray, reference: np.ndarray) -> float:
    rows = min(made.shape[0], reference.shape[0])  # sharp rounds heights another way at times
    return float(10 * np.log10(255**2 / np.mean((made[:rows].astype(np.float32) - reference[:rows]) ** 2)))


def _batch(files: Sequence[Path], folder: Path, *, threads: int, child: MediaChild) -> float:
    opened = [path.open("rb") for path in files]
    try:
        each = [
            {"source": SourceDescriptor(file.fileno(), path.name), "target": str(folder / path.stem)}
            for file, path in zip(opened, files, strict=True)
        ]
        began = time.monotonic()
        made = child.call_each(_FUNCTION, {"spec": _SPEC}, each, ThumbnailsResult, threads=threads, limit_s=600)
        took_s = time.monotonic() - began
        assert all(isinstance(one, ThumbnailsResult) for one in made), made
    finally:
        for file in opened:
            file.close()
    return took_s


def _pinned(files: Sequence[Path], folder: Path) -> float:
    children = [_child() for _ in range(2)]
    for cpu, child in enumerate(children):
        assert child.pid is not None
        for thread in psutil.Process(child.pid).threads():
            os.sched_setaffinity(thread.id, {cpu})
    began = time.monotonic()
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda half: _batch(files[half::2], folder, threads=1, child=children[half]), range(2)))
    took_s = time.monotonic() - began
    for child in children:
        child.close()
    return took_s


def _posted_at_once(files: Sequence[Path]) -> float:
    """From the first POST until the last job is done."""
    with live_server(MEDIARAY_ROOTS=json.dumps([str(ROOT)])) as server:
        params = {"sizes": [str(WIDTH)], "quality": QUALITY}
        for _ in range(2):  # all parts are warm after it
            took_s = _jobs(server, files, params)
    return took_s


def _jobs(server: LiveServer, files: Sequence[Path], params: dict[str, Any]) -> float:
    body = [{"operation": "image-thumbnails", "source": str(path), "params": params} for path in files]
    with server.client() as client, server.all_events() as socket, ThreadPoolExecutor(8) as pool:
        began = time.monotonic()
        answers = list(pool.map(lambda each: client.post("/v1/jobs", json=each), body))
        left = {answer.json()["id"] for answer in answers}
        for text in socket:
            event = json.loads(text)
            assert event["state"] not in {"failed", "cancelled"}, event
            if event["state"] == "succeeded":
                left.discard(event["job_id"])
            if not left:
                return time.monotonic() - began
    raise AssertionError("the events ended")


def _twelve_megapixels(folder: Path) -> list[Path]:
    folder.mkdir()
    image = Image.open(SHARED / "jpeg_12mp_gainmap.jpg").convert("RGB").resize((4000, 3000))
    image.save(folder / "00.jpg", quality=90)
    for number in range(1, _SINGLES):
        shutil.copy(folder / "00.jpg", folder / f"{number:02d}.jpg")
    return sorted(folder.iterdir())


def _child() -> MediaChild:
    """A child as a server has it, with what pictures need loaded."""
    child = MediaChild(ChildSpec("pipelines.media.child", 0, 4 << 30, ("pipelines.media.images.thumbnails",)))
    child.warm()
    with tempfile.TemporaryDirectory(dir=PEERS) as folder:
        _batch(sorted(photos(COUNT).iterdir())[:4], Path(folder), threads=2, child=child)
    return child


def _peak_mib(files: Sequence[Path], folder: Path) -> float:
    child = _child()
    _batch(files, folder, threads=2, child=child)
    status = Path(f"/proc/{child.pid}/status").read_text()
    child.close()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def _for_pages(folder: Path) -> tuple[float, float]:
    """The slowest answer in ms: of pictures that are made, of pictures that were."""
    folder.mkdir()
    image = Image.open(SHARED / "jpeg_12mp_gainmap.jpg").convert("RGB").resize((3000, 2000))
    image.save(folder / "00.jpg", quality=90)
    files = [folder / f"{number:02d}.jpg" for number in range(21)]
    for file in files[1:]:
        shutil.copy(files[0], file)
    with live_server(MEDIARAY_ROOTS=json.dumps([str(ROOT)])) as server, server.client() as client:

        def took_ms(file: Path) -> float:
            began = time.monotonic()
            answer = client.get("/v1/images", params={"source": str(file), "w": 720})
            assert answer.status_code == 200, answer.text
            return (time.monotonic() - began) * 1000

        took_ms(files[0])
        time.sleep(3)  # the server's start is over
        cold = [took_ms(file) for file in files[1:]]
        warm = [took_ms(file) for file in files[1:] * 5]
    return max(cold), max(warm)


def _slowest_refusal(folder: Path) -> float:
    """Of the shared broken pictures and of generated bombs, one by one in a child as the server has it."""
    from tests.bombs import bombs

    child = _child()
    slowest = 0.0
    for path in [*sorted((SHARED.parent / "bad" / "image").iterdir()), *bombs(folder / "bombs")]:
        with path.open("rb") as file:
            each = [{"source": SourceDescriptor(file.fileno(), path.name), "target": str(folder / "bomb")}]
            began = time.monotonic()
            child.call_each(_FUNCTION, {"spec": _SPEC}, each, ThumbnailsResult, threads=1, limit_s=60)
            slowest = max(slowest, time.monotonic() - began)
    child.close()
    return slowest


def _main(source: Path, target: Path, format_: str, width: str = str(WIDTH)) -> None:
    target.mkdir(parents=True, exist_ok=True)
    spec = _SPEC.model_copy(update={"format": format_, "sizes": (width,)})
    files = sorted(source.glob("*.jpg"))
    with ThreadPoolExecutor(2) as pool:
        began = time.perf_counter()
        list(pool.map(lambda path: thumbnails(path, target / path.stem, spec), files))
    print(time.perf_counter() - began)


if __name__ == "__main__":
    _main(Path(sys.argv[1]), Path(sys.argv[2]), *sys.argv[3:])
