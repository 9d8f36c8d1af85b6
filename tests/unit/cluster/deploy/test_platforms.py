"""What is shipped to deploy with is read here by those who will read it, as far as they come in a package."""

import importlib.metadata
import json
import os
import re
import subprocess
import sys

import pytest
import yaml
from pydantic import ValidationError
from ray.autoscaler._private.util import prepare_config, validate_config
from unit.cluster.deploy.kuberay import ray_services

from cluster.deploy.platforms import PLAIN_FILES, PLATFORMS, Aws, Azure, Gcp, Kubernetes, Platform, rendered, text_of
from cluster.ray_cluster import NODE_ENVIRONMENT

RAY_UP = {"image": "registry.example/media/mediaray:0.1.0", "share": "files.example:/media", "region": "eu-central-1"}
AWS = Aws(
    **RAY_UP,
    bucket="films.example",
    machine_image="ami-0123456789abcdef0",
    head_profile="arn:aws:iam::123456789012:instance-profile/head",
    worker_profile="arn:aws:iam::123456789012:instance-profile/work",
)
ON_GCP = {**RAY_UP, "zone": "europe-west3-a", "project": "films-1234"}
WORKER = "work@films-1234.iam.gserviceaccount.com"
GCP = Gcp(**ON_GCP, bucket="films", worker_account=WORKER)
AZURE = Azure(
    **RAY_UP, resource_group="films", subscription="01234567-89ab-cdef-0123-456789abcdef", container="films-in"
)
CLOUDS = pytest.mark.parametrize("cloud", [AWS, GCP, AZURE], ids=["aws", "gcp", "azure"])
KUBERNETES = Kubernetes(
    image="registry.example/mediaray@sha256:" + "0a" * 32, bucket="films", host="media.example", min_workers=1
)


def documents(platform: Platform) -> list[dict]:
    return list(yaml.safe_load_all(rendered(platform)))


def config(platform: Platform) -> dict:
    (found,) = documents(platform)
    return found


@CLOUDS
def test_ray_takes_the_file(cloud):
    prepared = prepare_config(config(cloud))
    validate_config(prepared)
    assert prepared["max_workers"] == 8


@CLOUDS
def test_nothing_of_ray_s_own_set_up_is_done(cloud):
    """It would install another version of Ray."""
    prepared = prepare_config(config(cloud))
    assert prepared["setup_commands"] == []
    assert not [line for kind in ("head", "worker") for line in prepared[f"{kind}_setup_commands"] if "ray" in line]


@CLOUDS
def test_the_head_does_no_work_and_spot_machines_come_first(cloud):
    types = config(cloud)["available_node_types"]
    assert types["head"]["resources"] == {"CPU": 0}
    assert types["spot"]["priority"] > types["on_demand"]["priority"]
    assert any("--num-cpus=0" in line for line in config(cloud)["head_start_ray_commands"])


@CLOUDS
def test_the_autoscaler_is_asked_for_what_it_may_bring(cloud):
    (line,) = [line for line in config(cloud)["head_start_ray_commands"] if "MEDIARAY_MOST_CPUS" in line]
    kind = config(cloud)["available_node_types"]["spot"]
    assert f"MEDIARAY_MOST_CPUS={kind['max_workers'] * kind['resources']['CPU']} " in line


@CLOUDS
def test_what_is_to_be_read_and_written_reaches_the_server_as_json(cloud):
    (line,) = [line for line in config(cloud)["head_start_ray_commands"] if "MEDIARAY_ROOTS" in line]
    (roots,) = re.findall(r" MEDIARAY_ROOTS='([^']*)'", line)
    assert json.loads(roots) == cloud.roots()


@pytest.mark.parametrize(
    ("cloud", "root"), [(AWS, "s3://films.example/"), (GCP, "gs://films/"), (AZURE, "az://films-in/")]
)
def test_a_cloud_s_own_storage_is_a_root(cloud, root):
    assert cloud.roots() == [root, "/mnt/mediaray/media"]


def test_without_a_bucket_media_lies_on_the_share_alone():
    plain = Gcp(**ON_GCP)
    validate_config(prepare_config(config(plain)))
    assert plain.roots() == ["/mnt/mediaray/media"]


def test_only_machines_that_work_get_the_account_that_reads_the_bucket():
    types = config(GCP)["available_node_types"]
    accounts = {name: kind["node_config"].get("serviceAccounts") for name, kind in types.items()}
    assert accounts["head"] is None  # Ray gives it one of its own
    assert [each["email"] for name in ("spot", "on_demand") for each in accounts[name]] == [WORKER, WORKER]


@pytest.mark.parametrize("given", [{"bucket": "films"}, {"worker_account": WORKER}])
def test_a_bucket_that_no_machine_could_read_is_refused(given):
    with pytest.raises(ValidationError, match="needs worker_account"):
        Gcp(**ON_GCP, **given)


@pytest.mark.parametrize(
    ("kind", "field", "value"),
    [
        (Gcp, "worker_account", "me@example.com"),
        (Gcp, "worker_account", f"{WORKER}\n"),
        (Gcp, "bucket", "films/*"),
        (Azure, "container", "Films"),
        (Azure, "container", "a--b"),
    ],
)
def test_storage_is_named_as_its_cloud_names_it(kind, field, value):
    with pytest.raises(ValidationError, match=field):
        kind(**{**(GCP if kind is Gcp else AZURE).model_dump(), field: value})


@pytest.mark.parametrize("file", sorted({platform.file for platform in PLATFORMS.values()}))
def test_a_file_that_was_not_filled_in_is_no_yaml(file):
    with pytest.raises(yaml.YAMLError):
        list(yaml.safe_load_all(text_of(file)))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("image", "mediaray"),
        ("image", 'a:1"\nx: y'),
        ("image", "a:1\n"),
        ("share", "files.example:/media; reboot"),
        ("share", "/media"),
        ("share", "-o:/x"),
        ("region", "eu central"),
        ("name", "Media"),
        ("bucket", "films'"),
        ("bucket", "../films"),
        ("machine_image", "ami-x"),
        ("head_profile", "head"),
        ("settings", "$(id)"),
        ("min_workers", 9),
        ("max_workers", 0),
        ("nonsense", "x"),
    ],
)
def test_what_could_mean_something_else_is_refused(field, value):
    with pytest.raises(ValidationError):
        Aws(**{**AWS.model_dump(), field: value})


@pytest.mark.parametrize("platform", PLATFORMS.values())
def test_what_a_user_has_to_say_has_no_default(platform):
    with pytest.raises(ValidationError, match=r"image\n"):
        platform()


def test_the_image_has_the_environment_that_nodes_need():
    dockerfile = text_of("Dockerfile").replace("\\\n", "")
    (line,) = [line for line in dockerfile.splitlines() if line.startswith("ENV ")]
    found = dict(pair.split("=", 1) for pair in line.removeprefix("ENV ").split())
    assert found == {**NODE_ENVIRONMENT, "RAY_AUTH_MODE": "token", "PATH": "/opt/mediaray/bin:$PATH"}


def test_every_file_is_in_the_package():
    assert all(text_of(name) for name in PLAIN_FILES)


def test_kuberay_takes_no_password_of_redis_but_its_own():
    """The operator would make no pod, and say so in an event alone."""
    found = documents(KUBERNETES)
    (service,) = [each for each in found if each["kind"] == "RayService"]
    (container,) = service["spec"]["rayClusterConfig"]["headGroupSpec"]["template"]["spec"]["containers"]
    container["env"].append({"name": "REDIS_PASSWORD", "value": "x"})
    with pytest.raises(ValidationError, match="REDIS_PASSWORD can't be set"):
        ray_services(found)


def test_commands_find_the_api_where_serve_has_it():
    (service,) = ray_services(documents(KUBERNETES))
    (head,) = service.spec.rayClusterConfig.headGroupSpec.template.spec.containers
    port = yaml.safe_load(service.spec.serveConfigV2)["http_options"]["port"]
    assert {each.name: each.value for each in head.env}["MEDIARAY_PORT"] == str(port)


@CLOUDS
def test_a_login_shell_finds_what_the_commands_call(cloud):
    """``ray up`` runs them by one, whose PATH /etc/profile sets anew; so the image's own isn't there."""
    called = re.findall(r"(?:^|;|until) *(ray|mediaray) ", " ".join(config(cloud)["head_start_ray_commands"]))
    assert {"ray", "mediaray"} == set(called)
    assert "PATH=/opt/mediaray/bin:$PATH' > /etc/profile.d/" in text_of("Dockerfile")


def test_kuberay_knows_every_field():
    (service,) = ray_services(documents(KUBERNETES))
    cluster = service.spec.rayClusterConfig
    assert cluster.headGroupSpec.rayStartParams["num-cpus"] == "0"
    assert cluster.rayVersion == importlib.metadata.version("ray")
    assert (cluster.workerGroupSpecs[0].minReplicas, cluster.workerGroupSpecs[0].maxReplicas) == (1, 8)


# In a process of its own: Serve warns when it is imported.
_READ = """
import importlib, sys, yaml
from ray.serve.schema import ServeDeploySchema
found = ServeDeploySchema.model_validate(yaml.safe_load(sys.stdin.read()))
module, _, name = found.applications[0].import_path.partition(":")
edge = getattr(importlib.import_module(module), "edge_application")
from cluster.redis_server import RedisUrls
from cluster.settings import Settings
application = edge(Settings(), RedisUrls("redis://jobs", "redis://cache"), "token")
assert callable(getattr(importlib.import_module(module), name))
assert not found.applications[0].deployments  # a number of replicas there would count, not that of the settings
scaling = application._bound_deployment._deployment_config.autoscaling_config
assert 1 < scaling.min_replicas < scaling.max_replicas
"""


def test_serve_takes_its_part_and_finds_the_application():
    (service,) = ray_services(documents(KUBERNETES))
    head = service.spec.rayClusterConfig.headGroupSpec.template.spec.containers[0]
    read = subprocess.run(
        [sys.executable, "-I", "-c", _READ],
        input=service.spec.serveConfigV2,
        env={**os.environ, **{each.name: each.value for each in head.env if each.value}},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert read.returncode == 0, read.stderr


def test_each_redis_is_a_server_of_its_own():
    (service,) = ray_services(documents(KUBERNETES))
    head = service.spec.rayClusterConfig.headGroupSpec.template.spec.containers[0]
    variables = {each.name: each.value for each in head.env}
    named = {
        variables["MEDIARAY_REDIS_URL"].split("@")[1],
        variables["MEDIARAY_CACHE_URL"].split("@")[1],
        service.spec.rayClusterConfig.gcsFaultToleranceOptions.redisAddress,
    }
    services = {f"{each['metadata']['name']}:6379" for each in documents(KUBERNETES) if each["kind"] == "Service"}
    assert len(named) == 3
    assert named == services


def test_every_pod_is_found_by_its_service_and_let_in_by_the_policy():
    kinds = documents(KUBERNETES)
    (policy,) = [each for each in kinds if each["kind"] == "NetworkPolicy"]
    sets = [each for each in kinds if each["kind"] == "StatefulSet"]
    assert len(sets) == 3
    for each in sets:
        labels = each["spec"]["template"]["metadata"]["labels"]
        assert policy["spec"]["podSelector"]["matchLabels"].items() <= labels.items()
        assert each["spec"]["selector"]["matchLabels"].items() <= labels.items()
    (service,) = ray_services(kinds)
    nodes = policy["spec"]["ingress"][0]["from"][0]["podSelector"]["matchLabels"]
    for group in (service.spec.rayClusterConfig.headGroupSpec, *service.spec.rayClusterConfig.workerGroupSpecs):
        assert nodes.items() <= group.template.metadata.labels.items()


def test_the_api_answers_to_its_name_and_to_that_of_its_service():
    (service,) = ray_services(documents(KUBERNETES))
    head = service.spec.rayClusterConfig.headGroupSpec.template.spec.containers[0]
    (hosts,) = [each.value for each in head.env if each.name == "MEDIARAY_ALLOWED_HOSTS"]
    assert {"media.example", "mediaray-serve-svc:8000"} <= set(json.loads(hosts))


def test_workers_have_neither_the_account_of_the_head_nor_a_token():
    """KubeRay lets the head's account change the cluster, for the autoscaler."""
    (service,) = ray_services(documents(KUBERNETES))
    cluster = service.spec.rayClusterConfig
    (worker,) = cluster.workerGroupSpecs
    assert worker.template.spec.serviceAccountName != cluster.headGroupSpec.template.spec.serviceAccountName
    assert not worker.template.spec.automountServiceAccountToken
