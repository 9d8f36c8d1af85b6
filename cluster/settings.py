"""Every setting, in one place. Read once by the entry points and passed down."""

import os
from pathlib import Path
from typing import Literal, Self, get_args

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from cluster.errors import StorageError
from cluster.object_paths import object_path
from cluster.stores import StoreAddresses
from cluster.webhook_urls import webhook_secrets, webhook_url

_ENDPOINT = r"^https?://[^/@?#]+/?$"
_COLLECTOR = r"^https?://[^/@?#\s]+(/[^?#\s]*)?$"
WebhookEvent = Literal["job.succeeded", "job.failed", "job.cancelled", "alert.firing", "alert.resolved"]
_WEBHOOK_EVENTS: tuple[WebhookEvent, ...] = get_args(WebhookEvent)


def _root(root: str) -> str:
    """A folder by its whole path, or a prefix of objects."""
    if "://" in root:
        try:
            object_path(root)
        except StorageError as error:
            raise ValueError(error.message) from error
        return root
    folder = Path(root).expanduser()
    if not folder.is_absolute():
        raise ValueError(f"{root[:200]!a} depends on the folder that the server is started in. Write the whole path.")
    return str(folder)


class Settings(BaseSettings):
    """Set by environment: ``MEDIARAY_PORT=8500``, ``MEDIARAY_ROOTS='["/films"]'``.

    Sizes are bytes, times seconds. ``None`` means: found out at start-up.
    """

    model_config = SettingsConfigDict(env_prefix="MEDIARAY_", frozen=True, hide_input_in_errors=True)

    home: Path = Field(Path("~/.mediaray"), description="State: jobs, cache, token, scratch, artifacts.")
    host: str = Field("127.0.0.1", description="Address to listen on. Only loopback without API keys.")
    port: int = Field(8420, ge=1, le=65535)
    allowed_hosts: tuple[str, ...] = Field((), description="Further Host headers to accept, e.g. a proxy's name.")

    redis_url: SecretStr | None = Field(None, description="Job store. Without it a private Redis is started.")
    cache_url: SecretStr | None = Field(None, description="Cache. Without it a private Redis is started.")
    redis_fsync: Literal["always", "everysec"] = Field(
        "always", description="AOF policy of the private job store: everysec may lose the last second."
    )
    cache_bytes: int = Field(256 << 20, ge=1 << 20, description="Memory of the private cache.")

    ray_address: str | None = Field(None, description="A running Ray cluster. Without it one is started here.")
    cpus: int | None = Field(None, ge=1, description="CPUs for work on this machine; default all.")
    most_cpus: int = Field(1000, ge=1, description="CPUs that an autoscaler is asked for, at most.")
    node_rest_s: float = Field(60.0, ge=1.0, description="Without work for this long, other nodes may be given back.")
    object_store_bytes: int = Field(128 << 20, ge=80 << 20, description="Media never goes through it.")
    serve_path: Literal["haproxy", "proxy"] = Field(
        "haproxy", description="What stands before the API: HAProxy, or Serve's Python proxy, which is slower."
    )
    api_replicas: int = Field(1, ge=1, le=64, description="Replicas of the API, at least.")
    api_replicas_max: int | None = Field(
        None, ge=1, le=64, description="…and at most: more come with requests and sockets. Default: a fixed number."
    )
    api_target_requests: int = Field(
        100, ge=1, le=4000, description="Requests and sockets at once that a replica is meant for."
    )
    api_rest_s: float = Field(600.0, ge=1.0, description="A replica that isn't needed for so long goes.")
    scrape_token: SecretStr | None = Field(
        None, min_length=16, description="A token that is good for GET /v1/metrics and nothing else, for Prometheus."
    )
    log_format: Literal["text", "json"] = Field("text", description="Of the lines in logs/.")
    otlp_endpoint: str | None = Field(
        default_factory=lambda: os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT") or None,
        pattern=_COLLECTOR,
        description="Where traces are sent, by OTLP over HTTP. Default: OTEL_EXPORTER_OTLP_ENDPOINT, else nowhere.",
    )

    roots: tuple[str, ...] | None = Field(
        None,
        description="Folders and prefixes of objects (s3://bucket/films/) jobs may read. Default: folders the local "
        "user names on the command line.",
    )
    output_roots: tuple[str, ...] | None = Field(
        None, description="Folders and prefixes of objects jobs may write. Default as roots."
    )
    s3_endpoint: str | None = Field(
        None, pattern=_ENDPOINT, description="Of S3 other than Amazon's: http://127.0.0.1:9000."
    )
    gcs_endpoint: str | None = Field(
        None, pattern=_ENDPOINT, description="Of a server that speaks as Google's store does: http://127.0.0.1:4443."
    )
    gcs_anonymous: bool = Field(False, description="Ask Google's store without credentials: for public buckets.")
    azure_account: str | None = Field(
        None, pattern=r"^[a-z0-9]{3,24}$", description="The account whose containers az://container/blob names."
    )
    azure_endpoint: str | None = Field(
        None, pattern=_ENDPOINT, description="Of a server that speaks as Azure's blobs do: http://127.0.0.1:10000."
    )
    fetched_bytes: int = Field(20 << 30, ge=1 << 20, description="Disk for what was read of objects, about.")

    lease_s: float = Field(15.0, ge=1.0, description="A unit that isn't renewed for this long is given away.")
    pause_grace_s: float = Field(10.0, ge=0.0, description="Time a running unit gets to finish on pause or stop.")
    max_attempts: int = Field(3, ge=1, description="Failures of the work before a job fails.")
    max_lost_places: int = Field(20, ge=1, description="Lost nodes, workers, dispatchers before a job fails.")
    priority_lift_s: float = Field(900.0, gt=0, description="Waiting this long lifts a job one priority class.")
    retention_days: float = Field(30.0, gt=0, description="Finished jobs and their records are kept this long.")
    max_finished_jobs: int = Field(100_000, ge=1, description="…and at most this many of them.")

    kept_days: float = Field(3.0, gt=0, description="Finished pieces of failed and cancelled jobs wait for a retry.")

    backup_every_h: float | None = Field(None, gt=0, description="Make a backup so often, in hours. Default: never.")
    backup_keep: int = Field(7, ge=1, description="So many of these backups are kept, the newest.")
    backup_folder: Path | None = Field(None, description="Where these go. Default: backups, in the home folder.")

    webhook_urls: tuple[SecretStr, ...] = Field((), description="Where ends of jobs and alerts are told.")
    webhook_events: tuple[WebhookEvent, ...] = Field(_WEBHOOK_EVENTS, description="…and which of them. Default: all.")
    webhook_secret: SecretStr | None = Field(
        None, description="What webhooks are signed with: whsec_…, or several for a while, the newest first."
    )
    webhook_secret_file: Path | None = Field(None, description="A file with it, read anew whenever something is sent.")
    webhook_hosts: tuple[str, ...] = Field(
        (), description="Hosts that a job's own webhook may name, with :port where that isn't 80 or 443."
    )
    webhook_private: bool = Field(False, description="A job's own webhook may lead to addresses that aren't public.")

    child_memory_bytes: int = Field(8 << 30, ge=512 << 20, description="Address space of one media child.")
    interactive_slots: int = Field(2, ge=1, description="Warm children of a node's interactive lane.")
    pictures_bytes: int = Field(2 << 30, ge=1 << 20, description="Disk for pictures that pages asked for.")
    idle_exit_s: float | None = Field(None, description="Stop after this long without work (set by the CLI).")

    @field_validator("home", "backup_folder", "webhook_secret_file")
    @classmethod
    def _absolute(cls, folder: Path | None) -> Path | None:
        return folder and folder.expanduser().absolute()

    @field_validator("roots", "output_roots")
    @classmethod
    def _nameable(cls, roots: tuple[str, ...] | None) -> tuple[str, ...] | None:
        return None if roots is None else tuple(map(_root, roots))

    @model_validator(mode="after")
    def _azure_named(self) -> Self:
        roots = (*(self.roots or ()), *(self.output_roots or ()))
        if self.azure_account is None and any(root.startswith("az://") for root in roots):
            raise ValueError("az:// among the roots needs the name of an account: MEDIARAY_AZURE_ACCOUNT")
        return self

    @model_validator(mode="after")
    def _replicas_in_order(self) -> Self:
        if self.most_api_replicas < self.api_replicas:
            raise ValueError(
                "MEDIARAY_API_REPLICAS_MAX is less than MEDIARAY_API_REPLICAS: raise it, or leave it out for a fixed "
                "number of replicas"
            )
        return self

    @field_validator("host")
    @classmethod
    def _loopback(cls, host: str) -> str:
        if host not in ("127.0.0.1", "localhost", "::1"):
            raise ValueError("only loopback (127.0.0.1) is allowed as long as there are no API keys")
        return host

    @field_validator("webhook_urls")
    @classmethod
    def _webhooks(cls, urls: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        for url in urls:
            webhook_url(url.get_secret_value())
        return urls

    @field_validator("webhook_hosts")
    @classmethod
    def _places(cls, hosts: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(host.lower() for host in hosts)

    @model_validator(mode="after")
    def _signed(self) -> Self:
        if self.webhook_secret is not None and self.webhook_secret_file is not None:
            raise ValueError("give a webhook's secret or a file with it, not both")
        if (self.webhook_urls or self.webhook_hosts) and not self.webhooks_signed:
            raise ValueError("webhooks are signed: set MEDIARAY_WEBHOOK_SECRET or MEDIARAY_WEBHOOK_SECRET_FILE")
        if self.webhook_secret is not None:
            webhook_secrets(self.webhook_secret.get_secret_value())
        return self

    @property
    def most_api_replicas(self) -> int:
        return self.api_replicas if self.api_replicas_max is None else self.api_replicas_max

    @property
    def webhooks_signed(self) -> bool:
        """Whether there is something to sign webhooks with: else none is sent."""
        return self.webhook_secret is not None or self.webhook_secret_file is not None

    def current_webhook_secrets(self) -> list[str]:
        """The secrets, the newest first; of a file, as it is now. Raises OSError, ValueError."""
        if self.webhook_secret_file is not None:
            return webhook_secrets(self.webhook_secret_file.read_text())
        return webhook_secrets(self.webhook_secret.get_secret_value()) if self.webhook_secret else []

    @property
    def stores(self) -> StoreAddresses:
        """How object storage is reached."""
        return StoreAddresses(
            s3_endpoint=self.s3_endpoint,
            gcs_endpoint=self.gcs_endpoint,
            gcs_anonymous=self.gcs_anonymous,
            azure_account=self.azure_account,
            azure_endpoint=self.azure_endpoint,
        )

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"
