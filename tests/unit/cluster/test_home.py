import json
import socket
import stat
import subprocess
import sys

import psutil
import pytest

from cluster.errors import StartupError
from cluster.home import Home, end_tree, wait_until_ended, write_private


@pytest.fixture
def home(tmp_path) -> Home:
    return Home.create(tmp_path / "home")


@pytest.fixture
def sleeper():
    """A process of ours that would run for a minute."""
    process = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])
    yield process
    process.kill()
    process.wait()


def mode(path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_the_home_and_its_folders_are_the_user_s_alone(home):
    assert {mode(path) for path in (home.path, home.scratch, home.redis, home.kept, home.artifacts, home.run)} == {
        0o700
    }


def test_the_token_is_the_user_s_alone_and_stays_the_same(home):
    token = home.token()
    assert len(token) >= 32
    assert mode(home.token_file) == 0o600
    assert home.token() == token


def test_a_token_that_a_crash_left_empty_is_made_anew(home):
    home.token_file.write_text("\n")
    assert len(home.token()) >= 32
    (home.path / "picture-keys").touch()
    assert len(home.picture_keys()) == 1


def test_a_token_that_could_be_guessed_is_refused(home):
    home.token_file.write_text("secret\n")
    with pytest.raises(StartupError, match="less than 16 characters") as refused:
        home.token()
    assert "secret" not in str(refused.value)


def test_a_private_file_is_private_though_a_public_one_was_there(home):
    file = home.path / "file"
    file.write_text("old")
    file.chmod(0o644)
    write_private(file, "new")
    assert (file.read_text(), mode(file)) == ("new", 0o600)
    assert list(home.path.glob(".file.*")) == []


def test_a_second_server_of_a_home_is_told_where_the_first_is(home):
    with home.hold():
        home.announce(url="http://127.0.0.1:1234")
        told = pytest.raises(StartupError, match=r"already runs on .*home at http://127.0.0.1:1234 \(process \d+\)")
        with told, Home(home.path).hold():
            pass


def test_whoever_holds_the_home_forgets_the_server_before(home):
    home.announce(url="http://127.0.0.1:1234")
    with home.hold():
        assert home.server() is None


def test_a_home_can_be_held_again(home):
    with home.hold():
        pass
    with home.hold():
        pass


def test_the_running_server_is_found(home):
    home.announce(url="http://here")
    found = home.server()
    assert found is not None
    assert (found["url"], found["pid"]) == ("http://here", psutil.Process().pid)


@pytest.mark.parametrize("text", ["", "{", "{}", '{"pid": 1, "started": 5.0}', '{"pid": "x"}'])
def test_a_record_that_names_no_running_server_is_none(home, text):
    home.server_file.write_text(text)
    assert home.server() is None


def test_a_process_left_behind_is_ended(home, sleeper):
    home.remember("redis", sleeper.pid)
    assert home.end_leftovers() == [sleeper.pid]
    assert sleeper.poll() is not None
    assert list(home.run.glob("*.pid")) == []


def test_a_process_that_is_gone_already_isn_t_recorded(home, sleeper):
    sleeper.kill()
    sleeper.wait()
    home.remember("redis", sleeper.pid)
    assert list(home.run.glob("*.pid")) == []


def test_a_foreign_process_that_got_the_same_id_is_left_alone(home, sleeper):
    home.remember("redis", sleeper.pid)
    file = home.run / "redis.pid"
    record = json.loads(file.read_text())
    file.write_text(json.dumps({**record, "started": record["started"] - 60}))
    assert home.end_leftovers() == []
    assert sleeper.poll() is None
    assert not file.exists()


def test_a_damaged_record_of_a_process_is_removed(home):
    (home.run / "redis.pid").write_text("{")
    assert home.end_leftovers() == []
    assert list(home.run.glob("*.pid")) == []


def test_a_process_that_ignores_the_request_is_ended_all_the_same():
    code = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); signal.pause()"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        end_tree(process.pid, grace_s=0.2)
        assert not psutil.pid_exists(process.pid)


def test_ending_a_process_that_is_gone_is_no_error(sleeper):
    sleeper.kill()
    sleeper.wait()
    end_tree(sleeper.pid)


def test_a_process_that_nobody_has_reaped_has_ended(home, sleeper):
    home.remember("sleeper", sleeper.pid)
    record = json.loads((home.run / "sleeper.pid").read_text())
    assert not wait_until_ended(record, 0.1)
    sleeper.kill()
    assert wait_until_ended(record, 10.0)


# Who does which unit


def test_the_process_that_does_a_unit_can_be_ended_from_outside(home):
    code = (
        "import sys, signal; from pathlib import Path; from cluster.home import Home\n"
        "with Home(Path(sys.argv[1])).working_on('job.a.1'): print(flush=True); signal.pause()"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(home.path)], stdout=subprocess.PIPE) as worker:
        assert worker.stdout is not None
        worker.stdout.readline()
        assert not home.end_worker_of("job.a.2")
        assert home.end_worker_of("job.a.1")
        assert worker.wait(5) == -9
    assert not home.end_worker_of("job.a.1")


def test_a_finished_unit_names_no_process(home):
    with home.working_on("job.a.1"):
        pass
    assert not home.end_worker_of("job.a.1")


def test_a_key_for_links_is_renewed_and_the_last_one_stays_live(home):
    first = home.picture_keys()
    assert home.picture_keys() == first
    home.renew_picture_key()
    second = home.picture_keys()
    assert second[1:] == first
    home.renew_picture_key()
    assert home.picture_keys()[1:] == second[:1]
    home.renew_picture_key(keep=0)
    assert len(home.picture_keys()) == 1
    assert ((home.path / "picture-keys").stat().st_mode & 0o777) == 0o600


def test_another_node_s_note_of_the_same_unit_is_left_alone(home, sleeper):
    elsewhere = home.run / "units" / "another-node"
    elsewhere.mkdir(parents=True)
    home.remember("sleeper", sleeper.pid)
    (home.run / "sleeper.pid").rename(elsewhere / "job.unit.1")
    assert not home.end_worker_of("job.unit.1")
    assert (elsewhere / "job.unit.1").exists()
    assert sleeper.poll() is None


def test_a_node_beside_the_server_s_has_a_log_of_its_own(home, monkeypatch):
    assert home.log.name == "up.log"
    home.announce(url="http://here")
    assert home.log.name == "up.log"
    monkeypatch.setattr(socket, "gethostname", lambda: "another")
    assert home.log.name == "node-another.log"
