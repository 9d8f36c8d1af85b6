"""Backups of a home on which no server runs, with the private Redis; and of one whose server runs."""

import asyncio
import json
import stat
import zipfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import redis
from pydantic import SecretStr
from typer.testing import CliRunner
from unit.pipelines.jobs.makers import short_folder, submission

from cluster.errors import StartupError, StorageError
from cluster.grants import grant
from cluster.home import Home
from cluster.redis_server import PrivateRedis, RedisServers, jobs_url_at_rest
from cluster.settings import Settings
from pipelines.bulk.collection import Collection
from pipelines.jobs.store import PREFIX, JobStore
from serve import backup, up
from serve.backup import Backup, back_up, name_for, restore, time_of, verify
from serve.cli.app import app


def nothing(_stage: str, _done: int, _total: int) -> None:
    pass


def settings_of(folder: Path) -> Settings:
    return Settings(home=folder)


def with_store(home: Home, work: Callable[[str], Any]) -> Any:
    with home.hold(), short_folder() as folder, jobs_url_at_rest(settings_of(home.path), home, folder) as url:
        return work(url)


def submit(url: str, count: int = 3) -> list[str]:
    async def all_of_them() -> list[str]:
        store = JobStore(url, patience=2)
        ids = [(await store.submit(submission()))[0] for _ in range(count)]
        await store.close()
        return ids

    return asyncio.run(all_of_them())


def jobs_in(home: Home) -> list[str]:
    def read(url: str) -> list[str]:
        with redis.Redis.from_url(url, decode_responses=True) as client:
            return list(client.zrange(f"{PREFIX}:jobs", 0, -1))

    found: list[str] = with_store(home, read)
    return found


def made(home: Home, target: Path, **more: Any) -> Backup:
    return back_up(settings_of(home.path), home, target, nothing, **{"overwrite": False, "units": False, **more})


def brought_back(home: Home, source: Path, *, replace: bool = False) -> Any:
    return restore(settings_of(home.path), home, source, nothing, replace=replace)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """With three jobs, a collection, a profile, a folder that was named, and secrets."""
    home = Home.create(tmp_path / "home")
    home.token()
    home.picture_keys()
    with_store(home, submit)
    files = Collection.named(home.path, "films").files
    files.append("import", pa.Table.from_pylist([{"uri": "/films/a.mkv", "at": datetime.now(UTC)}], files.schema))
    (home.profiles / "own.toml").write_text("[video]\n")
    grant(home, read=[Path("/films")], write=[])
    return home


@pytest.fixture
def empty(tmp_path: Path) -> Home:
    return Home.create(tmp_path / "there")


@pytest.fixture
def taken(home: Home, tmp_path: Path) -> Path:
    made(home, tmp_path / "backup.zip")
    return tmp_path / "backup.zip"


def test_a_home_comes_back_into_another(home, empty, taken):
    told = brought_back(empty, taken)
    assert (told.backup.active, told.backup.events, told.backup.collections, told.replaced) == (3, 3, 1, None)
    assert jobs_in(empty) == jobs_in(home)
    assert Collection.named(empty.path, "films").files.read() == Collection.named(home.path, "films").files.read()
    assert (empty.profiles / "own.toml").read_text() == "[video]\n"
    assert (empty.path / "grants.json").read_bytes() == (home.path / "grants.json").read_bytes()
    assert not empty.restoring.exists()


def test_nothing_secret_is_in_it(home, taken):
    secrets = [home.token(), *home.picture_keys(), (home.redis / "password").read_text().strip()]
    with zipfile.ZipFile(taken) as archive:
        everything = taken.read_bytes() + b"".join(archive.read(name) for name in archive.namelist())
    assert b"grants.json" in everything
    assert not [secret for secret in secrets if secret.encode() in everything]
    assert stat.S_IMODE(taken.stat().st_mode) == 0o600


def test_a_restored_home_has_secrets_of_its_own(home, empty, taken):
    brought_back(empty, taken)
    assert empty.token() != home.token()
    assert empty.picture_keys() != home.picture_keys()
    assert (empty.redis / "password").read_text() != (home.redis / "password").read_text()


def test_nothing_is_left_where_it_was_made(home, taken):
    assert [each.name for each in home.run.iterdir() if each.is_dir()] == ["units"]
    assert sorted(each.name for each in taken.parent.iterdir()) == ["backup.zip", "home"]


def test_what_was_linked_by_one_that_was_killed_goes(home, tmp_path):
    (home.run / "backup-killed").mkdir()
    made(home, tmp_path / "backup.zip")
    assert not (home.run / "backup-killed").exists()


def test_two_at_once_are_refused(home, tmp_path):
    with backup._alone(home), pytest.raises(StorageError) as told:
        made(home, tmp_path / "backup.zip")
    assert told.value.code == "backup_busy"


def test_a_home_with_jobs_or_collections_is_kept(home, taken):
    before = jobs_in(home)
    for clear in (lambda: None, lambda: with_store(home, wipe)):
        clear()
        with pytest.raises(StorageError) as told:
            brought_back(home, taken)
        assert told.value.code == "home_not_empty"
    assert len(before) == 3
    assert Collection.named(home.path, "films").folder.is_dir()


def wipe(url: str) -> None:
    with redis.Redis.from_url(url) as client:
        client.flushdb()


def test_what_is_replaced_is_kept_as_a_backup_and_as_it_was(home, taken, empty):
    brought_back(empty, taken)
    more = with_store(empty, lambda url: submit(url, 2))
    (empty.scratch / more[0]).mkdir()
    told = brought_back(empty, taken, replace=True)
    assert jobs_in(empty) == jobs_in(home)
    kept = verify(Path(told.replaced) / "backup.zip", nothing)
    assert (sum(kept.jobs.values()), kept.collections) == (5, 1)
    assert (Path(told.replaced) / "collections" / "films" / "files" / "import.parquet").exists()
    assert not (empty.scratch / more[0]).exists()
    assert Collection.named(empty.path, "films").files.read()["uri"].to_pylist() == ["/films/a.mkv"]


def test_a_home_whose_server_runs_is_not_restored_into(taken, empty):
    with empty.hold(), pytest.raises(StorageError) as told:
        brought_back(empty, taken)
    assert told.value.code == "server_running"


def test_without_room_nothing_is_touched(taken, empty, monkeypatch):
    monkeypatch.setattr(backup, "free_space", lambda _: 1000)
    with pytest.raises(StorageError) as told:
        brought_back(empty, taken)
    assert told.value.code == "disk_full"
    assert not (empty.redis / "appendonly.aof").exists()


def test_a_damaged_backup_touches_nothing(taken, empty):
    text = bytearray(taken.read_bytes())
    text[len(text) // 3] ^= 255
    taken.write_bytes(text)
    with pytest.raises(StorageError) as told:
        brought_back(empty, taken)
    assert told.value.code.startswith("backup_")
    assert not (empty.redis / "appendonly.aof").exists()


def test_a_home_that_a_restore_was_broken_off_in_starts_no_server_and_is_restored_anew(taken, empty, monkeypatch, home):
    def fails(*_: Any) -> None:
        raise StorageError("disk_full", "No space left.")

    with monkeypatch.context() as patched:
        patched.setattr(backup, "restore_catalogues", fails)
        with pytest.raises(StorageError):
            brought_back(empty, taken)
    with pytest.raises(StartupError, match="broken off"):
        up.run(settings_of(empty.path), on_ready=lambda _: None)
    with pytest.raises(StorageError) as told:
        made(empty, taken.parent / "another.zip")
    assert told.value.code == "home_not_whole"
    with pytest.raises(StorageError) as told:
        brought_back(empty, taken)
    assert told.value.code == "home_not_empty"
    brought_back(empty, taken, replace=True)
    assert jobs_in(empty) == jobs_in(home)
    assert not empty.restoring.exists()


def test_collections_that_are_half_put_aside_leave_no_home_that_starts(taken, home, monkeypatch):
    moved = Path.rename

    def fails(source: Path, target: Path) -> Path:
        if source.name == "collections":
            moved(source, target)
            raise OSError("killed")
        return moved(source, target)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "rename", fails)
        with pytest.raises(OSError, match="killed"):
            brought_back(home, taken, replace=True)
    with pytest.raises(StartupError, match="broken off"):
        up.run(settings_of(home.path), on_ready=lambda _: None)
    brought_back(home, taken, replace=True)
    assert Collection.named(home.path, "films").files.read()["uri"].to_pylist() == ["/films/a.mkv"]


def test_profiles_and_folders_of_the_home_win(taken, empty):
    (empty.profiles / "own.toml").write_text("# mine\n")
    brought_back(empty, taken)
    assert (empty.profiles / "own.toml").read_text() == "# mine\n"


def test_a_member_of_another_name_is_refused(taken):
    with zipfile.ZipFile(taken) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    manifest = json.loads(members.pop("manifest.json"))
    members["token"] = members["jobs.jsonl"]
    manifest["members"]["token"] = manifest["members"]["jobs.jsonl"]
    with zipfile.ZipFile(taken, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
        archive.writestr("manifest.json", json.dumps(manifest))
    with pytest.raises(StorageError) as told:
        verify(taken, nothing)
    assert told.value.code == "backup_refused"


def test_a_backup_is_taken_of_a_server_that_runs(home, tmp_path):
    with short_folder() as folder, home.hold():
        servers = RedisServers(settings_of(home.path), home, folder)
        servers.start()
        try:
            servers.wait_ready()
            home.folder_note.write_text(str(folder))
            submit(servers.urls.jobs, 4)
            assert made(home, tmp_path / "backup.zip").active == 7
        finally:
            servers.stop()


def test_a_server_whose_redis_isn_t_named_is_told_instead_of_an_empty_backup(home, tmp_path):
    home.folder_note.write_text(str(tmp_path))
    with home.hold(), pytest.raises(StartupError, match="MEDIARAY_REDIS_URL"):
        made(home, tmp_path / "backup.zip")
    assert not (tmp_path / "backup.zip").exists()


@pytest.fixture
def external() -> Iterator[str]:
    """A Redis that isn't ours to start, and is durable."""
    with short_folder() as folder:
        options = ["appendonly yes", "appendfsync always", "maxmemory-policy noeviction"]
        server = PrivateRedis("redis", folder, folder, options)
        server.spawn()
        server.wait_ready()
        yield server.url
        server.stop()


def test_a_redis_of_one_s_own_is_backed_up_and_restored_into(external, empty, tmp_path):
    ids = submit(external, 4)
    settings = Settings(home=empty.path, redis_url=SecretStr(external))
    taken = tmp_path / "backup.zip"
    assert back_up(settings, empty, taken, nothing, overwrite=False, units=False).jobs == {"queued": 4}
    password = external.split(":")[2].split("@")[0]
    assert password.encode() not in taken.read_bytes()
    with redis.Redis.from_url(external, decode_responses=True) as client:
        client.set("another program's", "key")
        with pytest.raises(StorageError) as told:
            restore(settings, empty, taken, nothing, replace=False)
        assert told.value.code == "home_not_empty"
        submit(external, 1)
        restore(settings, empty, taken, nothing, replace=True)
        assert client.zrange(f"{PREFIX}:jobs", 0, -1) == ids
        assert client.get("another program's") == "key"
    assert not (empty.redis / "appendonly.aof").exists()


def test_a_redis_that_may_lose_jobs_is_not_restored_into(external, empty, taken):
    with redis.Redis.from_url(external) as client:
        client.config_set("appendfsync", "everysec")
    with pytest.raises(StartupError, match="appendfsync always"):
        restore(Settings(home=empty.path, redis_url=SecretStr(external)), empty, taken, nothing, replace=False)


def test_names_tell_when_a_backup_was_begun():
    at = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
    assert time_of(name_for(at)) == at
    assert time_of("mediaray-old.zip") is None
    assert name_for(at) < name_for(at + timedelta(seconds=1))


def command(home: Home, *arguments: str | Path) -> tuple[int, Any]:
    environment = {"MEDIARAY_HOME": str(home.path)}
    result = CliRunner().invoke(app, [*map(str, arguments), "--json"], env=environment)
    return result.exit_code, json.loads(result.stdout)


def test_the_commands_tell_what_they_did(home, empty, tmp_path):
    code, told = command(home, "backup", tmp_path / "backup.zip")
    assert (code, told["verified"], told["jobs"], told["collections"]) == (0, True, {"queued": 3}, 1)
    assert command(home, "backup", tmp_path / "backup.zip", "--verify") == (0, told)
    code, told = command(empty, "restore", tmp_path / "backup.zip")
    assert (code, told["home"], told["active"], told["replaced"]) == (0, str(empty.path), 3, None)
    assert jobs_in(empty) == jobs_in(home)


def test_what_the_commands_refuse_is_a_document_and_exit_code_1(home, empty, tmp_path, taken):
    assert command(home, "backup", taken)[1]["error"]["code"] == "output_exists"
    assert command(home, "backup", taken, "--overwrite")[0] == 0
    assert command(empty, "restore", tmp_path / "gone.zip")[1]["error"]["code"] == "source_not_found"
    code, told = command(home, "restore", taken)
    assert (code, told["error"]["code"]) == (1, "home_not_empty")
    (tmp_path / "text.zip").write_text("no backup")
    assert command(home, "backup", tmp_path / "text.zip", "--verify")[1]["error"]["code"] == "backup_invalid"


def test_in_a_folder_a_backup_is_named_by_the_time(home, tmp_path):
    folder = tmp_path / "backups"
    folder.mkdir()
    code, told = command(home, "backup", folder)
    assert code == 0
    assert time_of(Path(told["path"]).name) is not None
    assert list(folder.iterdir()) == [Path(told["path"])]


def test_a_folder_that_isn_t_there_yet_is_made_where_a_slash_names_one(home, tmp_path):
    code, told = command(home, "backup", f"{tmp_path}/new/")
    assert code == 0
    assert [str(each) for each in (tmp_path / "new").iterdir()] == [told["path"]]


def test_a_home_that_isn_t_there_has_no_backup_and_isn_t_made(tmp_path):
    typo = Home(tmp_path / "hmoe")
    code, told = command(typo, "backup", tmp_path / "backup.zip")
    assert (code, told["error"]["code"]) == (1, "home_not_found")
    assert not typo.path.exists()
    assert not (tmp_path / "backup.zip").exists()


def test_people_are_told_what_is_in_it_and_what_isn_t(home, tmp_path):
    environment = {"MEDIARAY_HOME": str(home.path)}
    shown = CliRunner().invoke(app, ["backup", str(tmp_path / "backup.zip")], env=environment).stdout
    assert "3 jobs (3 unfinished), 3 events, 1 collection" in shown
    assert "Not in it: media" in shown
