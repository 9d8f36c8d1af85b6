"""What travels between the dispatcher and the workers, and the names of the actors they find each other by."""

from dataclasses import dataclass, field
from typing import Any, Literal

from cluster.settings import Settings
from pipelines.jobs.models import JobError, Unit

NAMESPACE = "mediaray"
DISPATCHER, REGISTRY = "dispatcher", "registry"
# What all wait for stays off nodes that come and go: this much of a resource that Ray gives the head node alone.
ON_HEAD = {"node:__internal_head__": 0.001}


@dataclass(frozen=True)
class WorkerConfig:
    """What every worker of a server needs. Holds the passwords of both Redises: never log it."""

    settings: Settings
    redis_url: str
    cache_url: str


@dataclass(frozen=True)
class UnitOrder:
    """One unit to do. ``fence`` is its lease's; ``module`` names the operation's module.

    ``cpus`` it may use, of them ``claimed_cpus`` alone; ``slots`` are the CPUs of the whole cluster; ``shared`` is the
    plan's. ``through``: go on with what follows it. ``trace`` is the job's.
    """

    job_id: str
    module: str
    sources: tuple[str, ...]
    params: dict[str, Any]
    unit: Unit
    fence: int
    cpus: int
    slots: int
    memory_bytes: int = 0
    shared: dict[str, Any] = field(default_factory=dict)
    through: bool = False
    claimed_cpus: int = 0
    trace: str | None = None

    @property
    def lease_name(self) -> str:
        return f"{self.job_id}.{self.unit.name}.{self.fence}"


@dataclass(frozen=True)
class UnitReport:
    """How it went, with the last unit where it went through several. ``done`` means: committed.

    ``cleaned_up``: it was the last unit of its job, which has left nothing behind. ``took_s``: how long it was worked
    on, where the worker has told.
    """

    outcome: Literal["done", "failed", "dropped"]
    error: JobError | None = None
    cleaned_up: bool = False
    took_s: float | None = field(default=None, compare=False)
