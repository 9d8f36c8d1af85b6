"""The files that put a cluster somewhere, with the values of a user in them.

A file stands beside this module with ``@{value}`` where a value goes, which no reader of YAML takes: one that wasn't
filled in is refused. A value is taken only in the narrow form of its kind, so that it can mean nothing else in YAML or
in the shell commands of a file.
"""

import json
from importlib.metadata import version
from importlib.resources import files
from string import Template
from typing import Annotated, ClassVar

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

_MEDIA = "/mnt/mediaray/media"
_MACHINE_CPUS = 8  # of each type that works, in the files


def _form(pattern: str) -> StringConstraints:
    return StringConstraints(pattern=rf"^(?:{pattern})\z")


Name = Annotated[str, _form(r"[a-z][a-z0-9-]{0,30}[a-z0-9]")]
Image = Annotated[str, _form(r"[a-z0-9][a-z0-9._/:-]*(?::[A-Za-z0-9_][A-Za-z0-9._-]{0,127}|@sha256:[0-9a-f]{64})")]
Place = Annotated[str, _form(r"[a-z][a-z0-9-]{1,40}")]
Host = Annotated[str, _form(r"[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?")]
Share = Annotated[str, _form(r"[A-Za-z0-9][A-Za-z0-9.-]*:/[A-Za-z0-9._/-]*")]
Bucket = Annotated[str, _form(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")]
Folder = Annotated[str, _form(r"(?:~/|/)?[A-Za-z0-9._/-]+")]
Group = Annotated[str, _form(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,88}[A-Za-z0-9_-]")]
Uuid = Annotated[str, _form(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")]
Profile = Annotated[str, _form(r"arn:aws[a-z-]*:iam::[0-9]{12}:instance-profile/[A-Za-z0-9+=,.@/_-]+")]
Container = Annotated[str, _form(r"[a-z0-9](?:-?[a-z0-9]){2,62}"), Field(max_length=63)]
ServiceAccount = Annotated[str, _form(r"[a-z0-9][a-z0-9-]{0,62}@[a-z0-9.-]+\.gserviceaccount\.com")]
MachineImage = Annotated[str, _form(r"ami-[0-9a-f]{8,17}")]
Size = Annotated[str, _form(r"[1-9][0-9]{0,5}(?:Mi|Gi|Ti)")]


class Platform(BaseModel):
    """Values of a file, each of which becomes a flag of the command line."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    file: ClassVar[str]

    name: Name = Field("mediaray", description="Of the cluster.")
    image: Image = Field(description="The image that was built of cluster/deploy/Dockerfile, with its tag or digest.")
    min_workers: int = Field(0, ge=0, le=1000, description="Machines that are there with nothing to do.")
    max_workers: int = Field(8, ge=1, le=1000, description="Machines that work, at most.")

    @model_validator(mode="after")
    def _ordered(self) -> "Platform":
        if self.min_workers > self.max_workers:
            raise ValueError("min_workers is more than max_workers")
        return self

    def values(self) -> dict[str, str]:
        return {name: str(value) for name, value in self.model_dump().items()}


class RayUp(Platform):
    """A cluster of virtual machines that ``ray up`` starts and scales."""

    share: Share = Field(description="An NFS 4.1 export that all nodes mount, as HOST:/PATH.")
    settings: Folder = Field(
        "~/mediaray-settings", description="A folder on this machine: mediaray.env with secrets, as docs/deploy tells."
    )
    region: Place = Field(description="Where the machines are.")

    def roots(self) -> list[str]:
        return [_MEDIA]

    def values(self) -> dict[str, str]:
        roots = {"roots": json.dumps(self.roots()), "output_roots": json.dumps(self.roots())}
        plain = {**super().values(), **roots, "most_cpus": str(_MACHINE_CPUS * self.max_workers)}
        return {**plain, "common": _filled("ray-up.common.yaml", plain)}


class Aws(RayUp):
    file: ClassVar[str] = "aws.yaml"

    bucket: Bucket = Field(description="S3: jobs may read and write all of it.")
    machine_image: MachineImage = Field(description="An Ubuntu with Docker, x86-64, of the region.")
    head_profile: Profile = Field(description="Instance profile of the head: starts machines, reads the bucket.")
    worker_profile: Profile = Field(description="Instance profile of the others: reads and writes the bucket.")

    def roots(self) -> list[str]:
        return [f"s3://{self.bucket}/", *super().roots()]


class Gcp(RayUp):
    file: ClassVar[str] = "gcp.yaml"

    zone: Place = Field(description="Of the region.")
    project: Place = Field(description="Id of the project.")
    bucket: Bucket | None = Field(None, description="Google Cloud Storage: jobs may read and write all of it.")
    worker_account: ServiceAccount | None = Field(
        None, description="Service account of machines that work: reads and writes the bucket."
    )

    @model_validator(mode="after")
    def _readable(self) -> "Gcp":
        if (self.bucket is None) is not (self.worker_account is None):
            raise ValueError("a bucket needs worker_account, and the account a bucket")
        return self

    def roots(self) -> list[str]:
        return [*([f"gs://{self.bucket}/"] if self.bucket else []), *super().roots()]

    def values(self) -> dict[str, str]:
        account = {"email": self.worker_account, "scopes": ["https://www.googleapis.com/auth/cloud-platform"]}
        access = f"serviceAccounts: [{json.dumps(account)}]" if self.worker_account else "# no service account"
        return {**super().values(), "worker_access": access}


class Azure(RayUp):
    file: ClassVar[str] = "azure.yaml"

    resource_group: Group = Field(description="Is made where there is none.")
    subscription: Uuid = Field(description="Id of the subscription.")
    container: Container | None = Field(
        None, description="Of the account MEDIARAY_AZURE_ACCOUNT: jobs may read and write all of it."
    )

    def roots(self) -> list[str]:
        return [*([f"az://{self.container}/"] if self.container else []), *super().roots()]


class Kubernetes(Platform):
    file: ClassVar[str] = "kubernetes.yaml"

    namespace: Name = Field("mediaray", description="Has to be there, with the secrets and claims of docs/deploy.")
    bucket: Bucket = Field(description="S3: jobs may read and write all of it.")
    host: Host = Field(description="Name at which clients reach the API.")
    worker_cpus: int = Field(8, ge=1, le=256, description="Of a worker.")
    worker_memory: Size = Field("16Gi", description="Of a worker.")

    def values(self) -> dict[str, str]:
        service = f"{self.name}-serve-svc"
        hosts = [self.host, *(f"{service}{rest}:8000" for rest in ("", f".{self.namespace}", f".{self.namespace}.svc"))]
        roots = json.dumps([f"s3://{self.bucket}/"])
        plain = {
            **super().values(),
            "roots": roots,
            "allowed_hosts": json.dumps(hosts),
            "ray_version": version("ray"),
            "most_cpus": str(self.worker_cpus * self.max_workers),
        }
        redises = [_filled("redis.kubernetes.yaml", {**plain, "role": role}) for role in ("jobs", "cache", "ray")]
        return {**plain, "redises": "".join(redises).rstrip()}


PLATFORMS: dict[str, type[Platform]] = {"aws": Aws, "gcp": Gcp, "azure": Azure, "kubernetes": Kubernetes}
# Used as they are: they take what is to be filled in from the environment, and are refused without it.
PLAIN_FILES = (
    "Dockerfile",
    "compose.yaml",
    "redis.compose.yaml",
    "mediaray.service",
    "mediaray-head.service",
    "mediaray-node.service",
)


def text_of(file: str) -> str:
    """A file as it is shipped."""
    return files("cluster.deploy").joinpath(file).read_text()


def rendered(platform: Platform) -> str:
    """The platform's file with its values."""
    return _filled(platform.file, platform.values())


class _File(Template):
    delimiter = "@"
    # Nothing but @{value}: an @ for itself, as in the name of an image, is none. It is compiled by the base class.
    pattern = r"@(?:(?P<escaped>@)|\{(?P<braced>[a-z_]+)\}|(?P<named>(?!))|(?P<invalid>\{))"  # type: ignore[assignment]


def _filled(file: str, values: dict[str, str]) -> str:
    return _File(text_of(file)).substitute(values)
