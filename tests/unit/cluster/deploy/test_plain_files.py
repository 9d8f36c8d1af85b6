"""The files that are used as they are: compose and systemd."""

import contextlib
import functools
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import redis
import yaml
from unit.pipelines.jobs.makers import short_folder

from cluster.deploy.platforms import PLAIN_FILES, Kubernetes, rendered, text_of
from cluster.errors import StartupError
from cluster.redis_server import _program, check_durable
from tests.live_server import until

# What the Compose specification has for a service, as far as the files use it.
SERVICE_KEYS = {
    "image",
    "user",
    "network_mode",
    "ipc",
    "shm_size",
    "init",
    "restart",
    "stop_signal",
    "stop_grace_period",
    "cap_drop",
    "security_opt",
    "env_file",
    "environment",
    "volumes",
    "healthcheck",
    "secrets",
    "entrypoint",
    "configs",
    "ports",
}
TOP_KEYS = {"name", "services", "configs", "secrets", "volumes"}
COMPOSE = [name for name in PLAIN_FILES if name.endswith("compose.yaml")]
UNITS = [name for name in PLAIN_FILES if name.endswith(".service")]


@pytest.mark.parametrize("file", COMPOSE)
def test_compose_knows_every_key(file):
    found = yaml.safe_load(text_of(file))
    assert {key for key in found if not key.startswith("x-")} <= TOP_KEYS
    for service in found["services"].values():
        assert set(service) <= SERVICE_KEYS
        assert {"image", "restart", "stop_grace_period"} <= set(service)


@pytest.mark.parametrize("file", COMPOSE)
def test_what_a_service_refers_to_is_declared(file):
    found = yaml.safe_load(text_of(file))
    for service in found["services"].values():
        assert {each["source"] for each in service.get("configs", [])} <= set(found.get("configs", {}))
        assert set(service.get("secrets", [])) <= set(found.get("secrets", {}))
        named = {each.split(":")[0] for each in service.get("volumes", []) if isinstance(each, str)}
        assert named <= set(found.get("volumes", {}))


@pytest.mark.parametrize("file", COMPOSE)
def test_a_value_that_was_not_given_is_refused_or_has_a_sound_default(file):
    used = re.findall(r"(?<!\$)\$\{(\w+)(:?[?-])?([^}]*)\}", text_of(file))
    assert used
    assert all(how in (":?", ":-") and text for _, how, text in used)
    assert not re.findall(r"(?<!\$)\$\w", text_of(file))


def test_compose_offers_the_api_to_the_machine_alone():
    (service,) = yaml.safe_load(text_of("compose.yaml"))["services"].values()
    assert service["network_mode"] == "host"
    assert "MEDIARAY_HOST" not in service["environment"]


def compose_redis(role: str) -> str:
    found = str(yaml.safe_load(text_of("redis.compose.yaml"))["configs"][role]["content"])
    return re.sub(r"\$\{\w+:-(\w+)\}", r"\1", found)


def kubernetes_redis(role: str) -> str:
    values = Kubernetes(image="mediaray:1", bucket="films", host="media.example")
    (found,) = [each for each in yaml.safe_load_all(rendered(values)) if each["kind"] == "ConfigMap"]
    return str(found["data"][f"{role}.conf"])


def compose_command(role: str, folder: Path) -> list[str]:
    """As Compose starts it, with files where they are here."""
    command = yaml.safe_load(text_of("redis.compose.yaml"))["services"][role]["entrypoint"]
    placed = {"$$": "$", "/etc/redis.conf": f"{folder}/redis.conf", "/run/secrets/password": f"{folder}/password"}
    return [functools.reduce(lambda text, pair: text.replace(*pair), placed.items(), part) for part in command]


def kubernetes_command(role: str, folder: Path) -> list[str]:
    values = Kubernetes(image="mediaray:1", bucket="films", host="media.example")
    sets = [each for each in yaml.safe_load_all(rendered(values)) if each["kind"] == "StatefulSet"]
    (found,) = [each for each in sets if each["metadata"]["name"].endswith(f"-{role}")]
    (container,) = found["spec"]["template"]["spec"]["containers"]
    return [part.replace(f"/etc/redis/{role}.conf", f"{folder}/redis.conf") for part in container["command"]]


def answers(client: redis.Redis) -> bool:
    with contextlib.suppress(redis.ConnectionError):
        return bool(client.ping())
    return False


@pytest.mark.parametrize(
    ("command", "configuration"), [(compose_command, compose_redis), (kubernetes_command, kubernetes_redis)]
)
def test_a_redis_in_a_container_is_told_to_stop_and_asks_for_the_password(command, configuration):
    """The first process of a container ignores a signal that it doesn't handle, as shells do."""
    with short_folder() as name:
        folder = Path(name)
        socket = folder / "redis.sock"
        own = f'port 0\nunixsocket "{socket}"\ndir "{folder}"\n'
        (folder / "redis.conf").write_text(configuration("jobs").replace("dir /data\n", "") + own)
        (folder / "password").write_text("secret\n")
        (folder / "valkey-server").symlink_to(_program())
        environment = {"PATH": f"{folder}:/usr/bin:/bin", "PASSWORD": "secret"}
        process = subprocess.Popen(command("jobs", folder), env=environment, stdout=subprocess.DEVNULL)
        try:
            with redis.Redis.from_url(f"unix://:secret@{socket}") as client:
                until(lambda: socket.exists() and answers(client), 30, lambda: "it doesn't answer")
                assert client.info("server")["process_id"] == process.pid
            with pytest.raises(redis.AuthenticationError):
                redis.Redis.from_url(f"unix://{socket}").ping()
            process.terminate()
            assert process.wait(30) == 0
        finally:
            process.kill()
            process.wait()


@contextlib.contextmanager
def running_redis(configuration: str):
    """A Redis that got this on its standard input, as the containers do it; its URL."""
    with short_folder() as folder:
        socket = Path(folder) / "redis.sock"
        own = f'\nport 0\nunixsocket "{socket}"\ndir "{folder}"\nrequirepass secret\n'
        process = subprocess.Popen([_program(), "-"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write((configuration.replace("dir /data\n", "") + own).encode())
        process.stdin.close()
        try:
            told = []
            while b"ready to accept" not in (line := process.stdout.readline()).lower():
                told.append(line)
                assert line, told
            yield f"unix://:secret@{socket}"
        finally:
            process.kill()
            process.stdout.close()
            process.wait()


def config_of(url: str, *names: str) -> dict[str, Any]:
    with redis.Redis.from_url(url, decode_responses=True) as client:
        return {name: client.config_get(name)[name] for name in names}


@pytest.mark.parametrize("source", [compose_redis, kubernetes_redis])
def test_the_redis_for_jobs_is_one_that_the_server_takes(source):
    with running_redis(source("jobs")) as url:
        check_durable(url)
        assert config_of(url, "maxmemory") == {"maxmemory": str(1 << 30)}  # or nothing warns before it is killed


@pytest.mark.parametrize("source", [compose_redis, kubernetes_redis])
def test_the_cache_may_forget_and_is_no_store_of_jobs(source):
    with running_redis(source("cache")) as url:
        assert config_of(url, "maxmemory", "maxmemory-policy") == {
            "maxmemory": str(1 << 30),
            "maxmemory-policy": "allkeys-lfu",
        }
        with pytest.raises(StartupError, match="could lose accepted jobs"):
            check_durable(url)


@pytest.mark.parametrize("source", [compose_redis, kubernetes_redis])
def test_the_redis_for_ray_forgets_nothing(source):
    with running_redis(source("ray")) as url:
        found = config_of(url, "appendonly", "maxmemory-policy")
        assert found == {"appendonly": "yes", "maxmemory-policy": "noeviction"}


@pytest.mark.parametrize("unit", UNITS)
def test_systemd_takes_the_unit(unit, tmp_path):
    if shutil.which("systemd-analyze") is None:
        pytest.skip("no systemd-analyze here")
    program = shutil.which("true")
    for name in UNITS:  # they name each other
        (tmp_path / name).write_text(text_of(name).replace("/opt/mediaray/bin/mediaray", str(program)))
    checked = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(tmp_path / unit)], capture_output=True, text=True, check=False
    )
    told = [line for line in checked.stderr.splitlines() if unit in line]
    assert told == [], checked.stderr
    assert checked.returncode == 0, checked.stderr


@pytest.mark.parametrize("unit", UNITS)
def test_a_unit_without_its_environment_is_refused(unit):
    (line,) = [line for line in text_of(unit).splitlines() if line.startswith("EnvironmentFile=")]
    assert not line.startswith("EnvironmentFile=-")
