"""The host of the media child, against the real child."""

import contextlib
import errno
import os
import pickle
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from processes import is_gone, until
from pydantic import BaseModel

from cluster import child_start
from cluster.child import ChildSpec, MediaChild, missing_in_sandboxes
from cluster.descriptors import SourceDescriptor
from cluster.errors import ChildCrashedError, ChildFailedError, ChildKilledError, ChildLimitError
from cluster.metrics import REGISTRY
from pipelines.media import child as child_module
from pipelines.media.child import yield_to_others
from pipelines.media.info import MediaInfo
from pipelines.media.plan import Cutting, TranscodePlan
from pipelines.media.profiles import TranscodeParams, load_profiles, merge
from pipelines.media.results import ChunkResult
from pipelines.media.sample import make_sample

PROFILES = Path(__file__).parents[3] / "configs" / "profiles"

PROBE = "pipelines.media.probing.probe:probe"
SPEC = ChildSpec("pipelines.media.child", nice=5, memory_bytes=4 << 30, folders=(tempfile.gettempdir(),))


class Anything(BaseModel, extra="allow"):
    """Any object will do as a result."""


@pytest.fixture
def child():
    child = MediaChild(SPEC)
    yield child
    child.close()


@pytest.fixture(scope="module")
def warm():
    """A child for tests that leave it as it is."""
    child = MediaChild(SPEC)
    child.warm()
    yield child
    child.close()


def call(child: MediaChild, path: Path, *, limit_s: float = 60.0, **more: Any) -> MediaInfo:
    with path.open("rb") as file:
        source = SourceDescriptor(file.fileno(), path.name)
        return child.call(PROBE, {"source": source, **more}, MediaInfo, limit_s=limit_s)


@pytest.fixture
def blocked(tmp_path: Path) -> Callable[[MediaChild, float], None]:
    """A call that can't end by itself: it opens a FIFO that nobody writes."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)

    def blocked(child: MediaChild, limit_s: float = 60.0) -> None:
        child.call("pipelines.media.profiles:load_profiles", {"folder": str(profiles)}, Anything, limit_s=limit_s)

    profiles = tmp_path / "profiles"
    profiles.mkdir()
    (profiles / "endless.toml").symlink_to(fifo)
    return blocked


@pytest.fixture
def started(child, tmp_path, monkeypatch) -> Callable[[], int]:
    """The number of a process that the child has started."""
    number, starter = tmp_path / "number", tmp_path / "python"
    starter.write_text(
        f"#!{sys.executable}\n"
        "import os, pathlib, subprocess, sys\n"
        "process = subprocess.Popen(['sleep', '600'])\n"
        f"pathlib.Path({str(number)!r}).write_text(str(process.pid))\n"
        f"os.execv({sys.executable!r}, [{sys.executable!r}, *sys.argv[1:]])\n"
    )
    starter.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(starter))
    return lambda: int(number.read_text())


@pytest.fixture
def midway(blocked) -> Callable[[MediaChild, Callable[[], None]], BaseException]:
    """What a call raises when ``act`` happens while the child works on it."""

    def midway(child: MediaChild, act: Callable[[], None]) -> BaseException:
        raised: list[BaseException] = []

        def run() -> None:
            try:
                blocked(child)
            except BaseException as error:
                raised.append(error)

        child.warm()
        assert child.pid is not None
        process = psutil.Process(child.pid)
        thread = threading.Thread(target=run)
        thread.start()
        until(lambda: waits_in_open(process))
        act()
        thread.join(20)
        assert raised
        return raised[0]

    return midway


def waits_in_open(process: psutil.Process) -> bool:
    """Whether the child's main thread is inside open(), as it is only in a call that ``blocked`` made."""
    number = Path(f"/proc/{process.pid}/syscall").read_text().split()[0]
    return number in ("2", "257")  # open, openat on x86-64


# Calls


def test_a_result_comes_back_as_its_model(warm, clip):
    info = call(warm, clip)
    assert info.duration_s == pytest.approx(0.5, abs=0.1)


def test_the_child_stays_warm(warm, clip):
    pid = warm.pid
    call(warm, clip)
    call(warm, clip)
    assert warm.pid == pid


@pytest.mark.parametrize(
    ("content", "code"),
    [(b"this is no media at all" * 100, "not_media"), (b"", "source_empty")],
)
def test_a_bad_file_s_code_and_message_come_back(warm, tmp_path, content, code):
    path = tmp_path / "bad.mkv"
    path.write_bytes(content)
    with pytest.raises(ChildFailedError) as failed:
        call(warm, path)
    assert failed.value.code == code
    assert "bad.mkv" in failed.value.message


def test_a_cut_off_film_is_told(warm, clip, tmp_path):
    path = tmp_path / "cut.mkv"
    path.write_bytes(clip.read_bytes()[:60])
    with pytest.raises(ChildFailedError) as failed:
        call(warm, path)
    assert failed.value.code in ("source_truncated", "source_unreadable", "not_media")


def test_a_failed_call_leaves_the_child_as_it_was(warm, clip, tmp_path):
    pid = warm.pid
    (tmp_path / "bad").write_bytes(b"no media")
    with pytest.raises(ChildFailedError):
        call(warm, tmp_path / "bad")
    assert (call(warm, clip).duration_s is not None, warm.pid) == (True, pid)


def test_no_descriptor_is_left_behind_in_either_process(warm, clip):
    def open_in_child() -> list[Path]:
        found = []
        for link in Path(f"/proc/{warm.pid}/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):  # closed just now
                found.append(link.readlink())
        return found

    call(warm, clip)
    until(lambda: clip not in open_in_child())
    before = psutil.Process().num_fds(), psutil.Process(warm.pid).num_fds()
    for _ in range(5):
        call(warm, clip)
    # The child closes its copy just after it answered.
    until(lambda: (psutil.Process().num_fds(), psutil.Process(warm.pid).num_fds()) <= before)


@pytest.mark.parametrize(
    "function",
    [
        "os:system",
        "pipelines.jobs.store:script",
        "pipelines.media:anything",
        "pipelines.media.probing.probe:_read",
        "pipelines.media.probing.probe:av",
        "pipelines.media.probing.probe:MediaInfo",
        "pipelines.media.probing.probe:none",
        "pipelines.media.none:none",
        "",
    ],
)
def test_only_public_media_functions_can_be_called(warm, function):
    with pytest.raises(ChildFailedError) as failed:
        warm.call(function, {}, Anything, limit_s=30)
    assert failed.value.code == "internal"


def test_an_answer_of_the_wrong_shape_is_a_crash(child, clip):
    class Wrong(BaseModel):
        nobody_has_this: int

    with clip.open("rb") as file, pytest.raises(ChildCrashedError, match="wrong shape"):
        child.call(PROBE, {"source": SourceDescriptor(file.fileno(), "a")}, Wrong, limit_s=30)
    assert child.pid is None


@pytest.mark.parametrize(
    "answer", [{"error": {}}, {"error": "no"}, {"error": {"code": 1, "message": 2, "fields": 3}}, {}]
)
def test_a_broken_error_is_a_crash(child, clip, monkeypatch, answer):
    child.warm()
    monkeypatch.setattr(child, "_wait_for_result", lambda *_: answer)
    with pytest.raises(ChildCrashedError, match="wrong shape"):
        call(child, clip)
    assert child.pid is None


def test_an_internal_error_s_text_stays_inside(warm):
    with pytest.raises(ChildFailedError) as failed:
        warm.call(PROBE, {"source": "/etc/shadow", "nothing": 1}, MediaInfo, limit_s=30)
    assert "shadow" not in failed.value.message


# Ends


def test_a_child_killed_in_a_call_is_a_crash_and_the_next_call_gets_a_fresh_one(child, midway, clip):
    error = midway(child, lambda: os.kill(child.pid, signal.SIGKILL))
    assert isinstance(error, ChildCrashedError)
    assert "SIGKILL" in str(error)
    assert call(child, clip).duration_s is not None


@pytest.mark.parametrize(
    ("number", "by_fault"), [(signal.SIGSEGV, True), (signal.SIGABRT, True), (signal.SIGKILL, False)]
)
def test_a_fault_of_its_own_is_told_from_a_kill(child, midway, number, by_fault):
    error = pickle.loads(pickle.dumps(midway(child, lambda: os.kill(child.pid, number))))
    assert error.by_fault is by_fault
    assert signal.Signals(number).name in str(error)


def test_what_a_dead_child_started_dies_too(child, midway, started):
    assert isinstance(midway(child, lambda: os.kill(child.pid, signal.SIGKILL)), ChildCrashedError)
    until(lambda: is_gone(started()))


def test_a_child_that_died_between_calls_is_replaced(child, clip):
    call(child, clip)
    first = child.pid
    os.kill(first, signal.SIGKILL)
    until(lambda: not psutil.pid_exists(first))
    assert call(child, clip).duration_s is not None
    assert child.pid != first


def test_a_child_that_died_between_calls_leaves_no_zombie(child):
    child.warm()
    number = child.pid
    os.kill(number, signal.SIGKILL)
    until(lambda: not psutil.pid_exists(number))


def test_what_a_child_started_dies_with_it_between_calls(child, started):
    child.warm()
    assert not is_gone(started())
    os.kill(child.pid, signal.SIGKILL)
    until(lambda: is_gone(started()))


def test_a_call_ended_on_purpose_says_so_within_two_seconds_and_leaves_no_process(child, midway):
    asked_at = 0.0
    pid = 0

    def kill() -> None:
        nonlocal asked_at, pid
        pid, asked_at = child.pid, time.monotonic()
        child.kill()

    error = midway(child, kill)
    assert isinstance(error, ChildKilledError)
    assert time.monotonic() - asked_at < 2
    assert is_gone(pid)


def test_a_stopped_child_can_be_ended_too(child, midway):
    def stop_and_kill() -> None:
        os.kill(child.pid, signal.SIGSTOP)
        child.kill()

    assert isinstance(midway(child, stop_and_kill), ChildKilledError)


def test_a_child_ended_on_purpose_takes_no_more_calls(child, clip):
    child.warm()
    child.kill()
    assert child.killed
    with pytest.raises(ChildKilledError):
        call(child, clip)


def test_a_kill_while_the_child_is_being_started_is_not_lost(child, clip, monkeypatch):
    class Spawner:
        def submit(self, *arguments: Any, **named: Any) -> Any:
            child.kill()
            return spawner.submit(*arguments, **named)

    spawner = child_start._spawner
    monkeypatch.setattr(child_start, "_spawner", Spawner())
    with pytest.raises(ChildKilledError):
        call(child, clip)
    assert child.pid is None


def test_a_call_past_its_limit_ends_the_child(child, blocked, clip):
    child.warm()
    pid = child.pid
    with pytest.raises(ChildLimitError):
        blocked(child, 0.3)
    assert is_gone(pid)
    assert call(child, clip).duration_s is not None


def test_a_child_that_can_t_start_is_a_crash():
    broken = MediaChild(ChildSpec("pipelines.media.nothing_there", 0, 4 << 30))
    with pytest.raises(ChildCrashedError, match="exit code 1"):
        broken.warm()


def test_closing_ends_the_process(child, clip):
    call(child, clip)
    pid = child.pid
    child.close()
    assert is_gone(pid)


# The place it lives in


def test_the_environment_holds_no_secret_and_nothing_of_ours(child, monkeypatch):
    for name in ("MEDIARAY_REDIS_URL", "RAY_AUTH_TOKEN", "AWS_SECRET_ACCESS_KEY", "PYTHONPATH"):
        monkeypatch.setenv(name, "hunter2")
    child.warm()
    environment = Path(f"/proc/{child.pid}/environ").read_bytes().decode()
    names = {pair.partition("=")[0] for pair in environment.split("\0") if pair}
    assert {name for name in names if not name.startswith("MALLOC_")} == {"PATH", "LANG", "OPENBLAS_NUM_THREADS"}
    assert "hunter2" not in environment


@pytest.fixture
def encode(child, tmp_path) -> Callable[[str, Path, TranscodeParams], ChunkResult]:
    """Encode the second of three chunks of a film of 3 s, in the child."""
    film = make_sample(tmp_path / "film.mkv", duration_s=3, width=480, height=270)

    def encode(profile: str, target: Path, params: TranscodeParams) -> ChunkResult:
        settings = merge(next(each for each in load_profiles(PROFILES).values() if each.name == profile), params)
        with film.open("rb") as opened:
            source = {"source": SourceDescriptor(opened.fileno(), film.name)}
            plan = child.call(
                "pipelines.media.preflight:preflight",
                source | {"settings": settings, "cutting": Cutting(slots=1, chunk_s=1.0)},
                TranscodePlan,
                limit_s=60.0,
            )
            return child.call(
                "pipelines.media.chunk:encode_chunk",
                source | {"target": str(target), "plan": plan, "chunk": plan.chunks[1]},
                ChunkResult,
                limit_s=60.0,
            )

    return encode


def test_a_warm_child_encodes_the_same_frames_the_same_way_each_time(child, encode, tmp_path):
    # x264's macroblock tree reads memory that it hasn't written: it must not hold what the call before left there.
    params = TranscodeParams(preset="medium")
    assert len({encode("mobile-480p", tmp_path / f"{turn}.nut", params).sha256 for turn in range(6)}) == 1
    encoding_bytes = psutil.Process(child.pid).memory_info().rss
    until(lambda: psutil.Process(child.pid).memory_info().rss < encoding_bytes * 0.8)  # it idles: memory goes back


@pytest.mark.skipif(os.geteuid() != 0, reason="only root's SVT-AV1 makes itself real-time")
def test_no_encoder_leaves_the_child_ahead_of_all_others(child, encode, tmp_path):
    encode("av1-1080p", tmp_path / "chunk.nut", TranscodeParams())
    threads = [int(thread.name) for thread in Path(f"/proc/{child.pid}/task").iterdir()]
    assert {os.sched_getscheduler(thread) for thread in threads} == {os.SCHED_OTHER}


def test_the_child_has_a_group_of_its_own(warm):
    assert os.getpgid(warm.pid) == warm.pid


def test_the_child_is_nicer_than_we_are(warm):
    assert psutil.Process(warm.pid).nice() == min(19, psutil.Process().nice() + SPEC.nice)


@pytest.mark.skipif(not Path("/proc/self/autogroup").exists(), reason="this kernel groups no sessions")
def test_the_child_s_session_is_as_nice_as_the_child(warm):
    told = Path(f"/proc/{warm.pid}/autogroup").read_text()
    if not told:
        pytest.skip("grouping of sessions is switched off")
    assert int(told.split()[-1]) == psutil.Process(warm.pid).nice()


def test_a_session_that_cant_be_made_nice_is_told(tmp_path, monkeypatch):
    """A refusal as a security module makes one: a file that can't be written, in the place of the kernel's."""
    monkeypatch.setattr(child_module, "_AUTOGROUP", tmp_path)
    monkeypatch.setattr(os, "getsid", lambda _: os.getpid())
    assert yield_to_others(0) == (False, None)


def test_a_session_that_cant_be_made_nice_yet_is_made_so_later(tmp_path, monkeypatch):
    """Of a system's users one may in 0.1 s, by the kernel."""
    tries, write = iter([errno.EAGAIN, errno.EAGAIN]), os.write

    def busy(descriptor: int, content: bytes) -> int:
        if (number := next(tries, None)) is not None:
            raise OSError(number, "try again")
        return write(descriptor, content)

    autogroup = tmp_path / "autogroup"
    autogroup.touch()
    monkeypatch.setattr(child_module, "_AUTOGROUP", autogroup)
    monkeypatch.setattr(os, "getsid", lambda _: os.getpid())
    monkeypatch.setattr(os, "write", busy)
    yields, later = yield_to_others(0)
    assert yields
    assert later is not None
    later()
    assert int(autogroup.read_text()) == os.nice(0)


def test_where_no_session_can_be_made_nice_children_stay_in_ours(monkeypatch, caplog):
    own, receive = threading.Event(), MediaChild._receive
    own.set()

    def refused(child: MediaChild, deadline: float) -> dict[str, Any]:
        body = receive(child, deadline)
        if "ready" in body and os.getsid(child.pid) == child.pid:
            body["ready"]["yields"] = False
        return body

    monkeypatch.setattr(child_start, "_own_sessions", own)
    monkeypatch.setattr(MediaChild, "_receive", refused)
    first, second = MediaChild(SPEC), MediaChild(SPEC)
    try:
        first.warm()
        second.warm()
        assert first.pid is not None
        assert second.pid is not None
        assert os.getsid(first.pid) == os.getsid(second.pid) == os.getsid(0)
        assert [os.getpgid(each) for each in (first.pid, second.pid)] == [first.pid, second.pid]
        assert caplog.text.count("lets no session be made nice") == 1
    finally:
        first.close()
        second.close()


def test_the_child_s_memory_is_limited_and_it_dies_first(warm):
    limits = Path(f"/proc/{warm.pid}/limits").read_text()
    assert str(SPEC.memory_bytes) in next(line for line in limits.splitlines() if line.startswith("Max address space"))
    assert Path(f"/proc/{warm.pid}/oom_score_adj").read_text().strip() == "1000"


def test_the_child_has_none_of_our_open_files(child, tmp_path):
    with (tmp_path / "private").open("w") as ours:
        os.set_inheritable(ours.fileno(), True)
        child.warm()
        links = [str(link.readlink()) for link in Path(f"/proc/{child.pid}/fd").iterdir()]
    assert not any("private" in link for link in links)


@pytest.fixture
def host(clip):
    """A process that holds a warm child; and the child's id."""
    code = (
        "import signal; from cluster.child import ChildSpec, MediaChild\n"
        f"child = MediaChild(ChildSpec('pipelines.media.child', 0, {4 << 30})); child.warm()\n"
        "print(child.pid, flush=True); signal.pause()"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        pid = int(process.stdout.readline())
        yield process, pid
        process.kill()
    if not is_gone(pid):
        os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("stopped", [False, True], ids=["running", "stopped"])
def test_the_child_dies_with_its_host(host, stopped):
    process, pid = host
    if stopped:
        os.kill(pid, signal.SIGSTOP)
        until(lambda: psutil.Process(pid).status() == psutil.STATUS_STOPPED)
    process.kill()
    until(lambda: is_gone(pid), limit_s=2.0)


def test_a_call_of_many_tells_what_each_came_to_in_order(warm, clip, tmp_path):
    (tmp_path / "no.mkv").write_bytes(b"no film")
    told: list[dict[str, Any]] = []
    with clip.open("rb") as film, (tmp_path / "no.mkv").open("rb") as none:
        sources = [SourceDescriptor(file.fileno(), "x") for file in (film, none, film)]
        each = [{"source": source} for source in sources]
        found = warm.call_each(PROBE, {}, each, MediaInfo, threads=2, limit_s=60.0, on_progress=told.append)
    assert [getattr(one, "code", None) for one in found] == [None, "not_media", None]
    assert [round(one["fraction"], 2) for one in told] == [0.33, 0.67, 1.0]


def test_a_call_of_more_than_a_message_takes_is_refused(warm):
    with pytest.raises(ValueError, match="65 calls"):
        warm.call_each(PROBE, {}, [{}] * 65, MediaInfo, threads=1, limit_s=60.0)


def test_an_answer_of_the_wrong_shape_to_many_is_a_crash(child, clip):
    with clip.open("rb") as film:
        each = [{"source": SourceDescriptor(film.fileno(), "x")}]
        with pytest.raises(ChildCrashedError):
            child.call_each(PROBE, {}, each, TranscodePlan, threads=1, limit_s=60.0)


# What is counted


def ends(reason: str) -> float:
    return REGISTRY.get_sample_value("mediaray_child_ends_total", {"reason": reason}) or 0.0


def test_ends_are_counted_by_their_reason(child, midway, blocked):
    before = {reason: ends(reason) for reason in ("crashed", "limit", "stopped")}
    assert isinstance(midway(child, lambda: os.kill(child.pid, signal.SIGKILL)), ChildCrashedError)
    with pytest.raises(ChildLimitError):
        blocked(child, limit_s=0.2)
    assert isinstance(midway(child, child.kill), ChildKilledError)
    assert {reason: ends(reason) for reason in before} == {reason: count + 1 for reason, count in before.items()}


def test_the_end_of_an_idle_child_is_counted_as_that(child):
    before = ends("idle")
    child.warm()
    os.kill(child.pid, signal.SIGKILL)
    until(lambda: child.pid is None)
    assert ends("idle") == before + 1


def test_an_end_after_the_work_isn_t_counted(child, clip):
    before = [ends(reason) for reason in ("crashed", "idle", "limit", "stopped")]
    call(child, clip)
    child.close()
    assert [ends(reason) for reason in ("crashed", "idle", "limit", "stopped")] == before


def test_cpu_time_goes_on_over_the_child_s_end(child, clip):
    assert child.cpu_s == 0.0
    call(child, clip)
    taken_s = child.cpu_s
    assert taken_s > 0.0
    child.close()
    assert child.cpu_s >= taken_s


def told(name: str) -> float:
    found = REGISTRY.get_sample_value(name)
    assert found is not None
    return found


def test_live_children_are_counted_with_their_memory(child, clip):
    before = told("mediaray_children")
    call(child, clip)
    assert told("mediaray_children") == before + 1
    assert child.memory_bytes > 10 << 20
    assert told("mediaray_children_memory_bytes") >= child.memory_bytes // 2
    child.close()
    assert (told("mediaray_children"), child.memory_bytes) == (before, 0)


def test_what_a_child_lacks_of_its_box_is_told_while_it_lives(child, monkeypatch):
    receive = MediaChild._receive

    def on_an_old_kernel(child: MediaChild, deadline: float) -> dict[str, Any]:
        body = receive(child, deadline)
        if "ready" in body:
            body["ready"]["confinement"]["landlock"] = False
        return body

    before = told("mediaray_children_unconfined")
    monkeypatch.setattr(MediaChild, "_receive", on_an_old_kernel)
    child.warm()
    assert child.lacks == ("landlock",)
    assert "landlock" in missing_in_sandboxes()
    assert told("mediaray_children_unconfined") == before + 1
    child.close()
    assert told("mediaray_children_unconfined") == before
