"""What hostile code would try in a media process: it gets nowhere."""

import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import escaping.child as escaping
import psutil
import pytest
from escaping.child import FILE_BYTES, MEMORY_BYTES, Around, Tried
from processes import is_gone, until

from cluster import child as host
from cluster.child import ChildSpec, MediaChild
from cluster.child_start import spawn
from cluster.descriptors import SourceDescriptor
from cluster.errors import ChildCrashedError, ChildLimitError

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the sandbox is made of what Linux has")


def spawn_hostile(command: Sequence[str], descriptors: Sequence[int], stderr: int) -> Any:
    """Start the child of ``escaping`` in the place of the real one, as it is started."""
    module = list(command).index("-m")
    return spawn([*command[:module], str(escaping.__file__), *command[module + 2 :]], descriptors, stderr)


@pytest.fixture
def around(tmp_path: Path) -> Iterator[Around]:
    home, scratch, outside = (tmp_path / name for name in ("home", "scratch", "media"))
    for folder in (home, scratch, outside):
        folder.mkdir()
    (home / "token").write_text("secret")
    (outside / "film.mkv").write_bytes(b"film")
    (scratch / "link").symlink_to(home / "token")
    with (
        socket.socket(socket.AF_UNIX) as store,
        socket.create_server(("127.0.0.1", 0)) as server,
    ):
        store.bind(str(home / "redis.sock"))
        store.listen()
        yield Around(
            token=str(home / "token"),
            scratch=str(scratch),
            outside=str(outside),
            link_out=str(scratch / "link"),
            unix_socket=str(home / "redis.sock"),
            tcp_port=server.getsockname()[1],
            parent=psutil.Process().pid,
        )


@pytest.fixture(params=[False, True], ids=["alone", "with programs"])
def hostile(around: Around, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[MediaChild]:
    monkeypatch.setattr(host, "spawn", spawn_hostile)
    spec = ChildSpec(
        "pipelines.media.child",
        nice=5,
        memory_bytes=MEMORY_BYTES,
        folders=(around.scratch,),
        file_bytes=FILE_BYTES,
        runs_programs=request.param,
    )
    child = MediaChild(spec)
    child.warm()
    if child.lacks:
        pytest.skip(f"this kernel lacks {', '.join(child.lacks)}")
    yield child
    child.close()


def test_no_way_leads_out(hostile: MediaChild, around: Around) -> None:
    film = Path(around.outside, "film.mkv")
    with film.open("rb") as opened:
        source = SourceDescriptor(opened.fileno(), film.name)
        tried = hostile.call("attempt", {"at": around, "source": source}, Tried, limit_s=60)
    may = {"a file in memory", "a process", "a process by clone"} if hostile._spec.runs_programs else set()
    assert set(tried.escaped) == may
    assert len(tried.refused) > 90
    assert film.read_bytes() == b"film"
    assert [each.name for each in Path(around.outside).iterdir()] == ["film.mkv"]
    assert Path(around.token).read_text() == "secret"


@pytest.mark.skipif(not escaping._X86, reason="the gate is x86's")
@pytest.mark.parametrize("hostile", [False], indirect=True)
def test_calls_under_other_numbers_end_the_process(hostile: MediaChild) -> None:
    with pytest.raises(ChildCrashedError, match="SIGSYS"):
        hostile.call("calls_as_on_i386", {}, Tried, limit_s=60)


@pytest.mark.parametrize("hostile", [True], indirect=True)
@pytest.mark.parametrize(
    "arguments",
    [
        ["-f", "data", "-i", "{token}", "-map", "0", "-f", "null", "-"],
        ["-f", "lavfi", "-i", "color", "-frames", "1", "{outside}/made.mkv"],
        ["-f", "mpegts", "-i", "tcp://127.0.0.1:{tcp_port}", "-f", "null", "-"],
        ["-f", "mpegts", "-i", "unix:{unix_socket}", "-f", "null", "-"],
    ],
    ids=["read", "write", "port", "store"],
)
def test_the_program_that_may_be_run_is_in_the_box(hostile: MediaChild, around: Around, arguments: list[str]) -> None:
    given = [each.format(**around.model_dump()) for each in arguments]
    tried = hostile.call("run_program", {"at": around, "arguments": given}, Tried, limit_s=60)
    assert not tried.escaped
    assert "ermi" in tried.refused["ffmpeg"], tried.refused  # Permission denied, Operation not permitted


@pytest.mark.parametrize("hostile", [True], indirect=True)
def test_the_program_that_may_be_run_is_run(hostile: MediaChild, around: Around) -> None:
    made = f"{around.scratch}/made.mkv"
    arguments = ["-f", "lavfi", "-i", "color", "-frames", "1", made]
    tried = hostile.call("run_program", {"at": around, "arguments": arguments}, Tried, limit_s=60)
    assert tried.escaped == arguments, tried.refused
    assert Path(made).stat().st_size


@pytest.mark.parametrize("hostile", [False], indirect=True)
def test_a_call_that_comes_no_further_is_ended(hostile: MediaChild, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "_SILENT_S", 0.3)
    pid = hostile.pid
    told: list[dict[str, Any]] = []
    with pytest.raises(ChildLimitError, match="came no further"):
        hostile.call("stall", {}, Tried, limit_s=600, on_progress=told.append)
    assert [each["fraction"] for each in told] == [0.1]
    assert pid is not None
    assert is_gone(pid)


@pytest.mark.parametrize("hostile", [False], indirect=True)
def test_a_call_that_tells_without_end_is_ended_at_its_limit(hostile: MediaChild) -> None:
    with pytest.raises(ChildLimitError):
        hostile.call("flood", {}, Tried, limit_s=0.5)


@pytest.mark.parametrize("hostile", [False], indirect=True)
def test_a_process_that_holds_too_much_memory_is_replaced_between_two_calls(hostile: MediaChild) -> None:
    first = hostile.pid
    hostile.call("leak", {"count": 64 << 20}, Tried, limit_s=60)
    assert hostile.pid is None
    hostile.warm()
    assert hostile.pid not in (None, first)


HOST = """
import signal, sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from cluster import child as host
from cluster.child import ChildSpec, MediaChild
from escaping.child import Around, Tried
from unit.pipelines.media.sandbox.test_escapes import spawn_hostile

host.spawn = spawn_hostile
spec = ChildSpec("pipelines.media.child", 0, {memory}, folders=({scratch!r},), runs_programs=True)
child = MediaChild(spec)
child.call("linger", {{"at": Around.model_validate_json(sys.stdin.readline())}}, Tried, limit_s=60)
print(child.pid, flush=True)
{then}
"""


@pytest.mark.parametrize("first", ["host", "child"])
def test_what_it_starts_doesn_t_outlive_it(around: Around, first: str) -> None:
    then = "signal.pause()" if first == "host" else "import os; os.kill(child.pid, 9); signal.pause()"
    tests = str(Path(escaping.__file__).parents[1])
    code = HOST.format(tests=tests, memory=MEMORY_BYTES, scratch=around.scratch, then=then)
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(around.model_dump_json() + "\n")
            process.stdin.flush()
            child = int(process.stdout.readline())
            lingering = int(Path(around.scratch, "lingers").read_text())
            if first == "host":
                assert not is_gone(lingering)
                process.kill()
            until(lambda: is_gone(child) and is_gone(lingering))
        finally:
            process.kill()
