"""The fields of KubeRay's resources that the shipped file uses; any other is refused.

Written after ray-operator/apis/ray/v1/rayservice_types.go and raycluster_types.go of ray-project/kuberay, and after its
samples where those were older: ``authOptions``, ``autoscalerOptions.version``. No operator has read the file yet. Pods
are checked for what the file sets, after Kubernetes' core/v1.
"""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Quantity = str


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Metadata(_Strict):
    name: str | None = None
    namespace: str | None = None
    labels: dict[str, str] = {}


class KeyRef(_Strict):
    name: str
    key: str


class ValueFrom(_Strict):
    secretKeyRef: KeyRef


class Variable(_Strict):
    name: str
    value: str | None = None
    valueFrom: ValueFrom | None = None


class Port(_Strict):
    name: str
    containerPort: int = Field(ge=1, le=65535)


class SecretRef(_Strict):
    name: str
    optional: bool


class VariablesFrom(_Strict):
    secretRef: SecretRef


class Mount(_Strict):
    name: str
    mountPath: str


class Resources(_Strict):
    requests: dict[Literal["cpu", "memory"], Quantity]
    limits: dict[Literal["cpu", "memory"], Quantity]


class Capabilities(_Strict):
    drop: list[str]


class ContainerSecurity(_Strict):
    allowPrivilegeEscalation: bool
    capabilities: Capabilities


class Container(_Strict):
    name: str
    image: str
    securityContext: ContainerSecurity
    ports: list[Port] = []
    envFrom: list[VariablesFrom] = []
    env: list[Variable] = []
    volumeMounts: list[Mount]
    resources: Resources


class SeccompProfile(_Strict):
    type: Literal["RuntimeDefault"]


class PodSecurity(_Strict):
    runAsNonRoot: bool
    runAsUser: int
    runAsGroup: int
    fsGroup: int
    seccompProfile: SeccompProfile


class ClaimSource(_Strict):
    claimName: str


class Volume(_Strict):
    name: str
    persistentVolumeClaim: ClaimSource


class PodSpec(_Strict):
    serviceAccountName: str
    automountServiceAccountToken: bool = True
    terminationGracePeriodSeconds: int
    securityContext: PodSecurity
    containers: list[Container] = Field(min_length=1, max_length=1)
    volumes: list[Volume]


class PodTemplate(_Strict):
    metadata: Metadata
    spec: PodSpec


class HeadGroup(_Strict):
    rayStartParams: dict[str, str]
    template: PodTemplate


class WorkerGroup(HeadGroup):
    groupName: str
    replicas: int = Field(ge=0)
    minReplicas: int = Field(ge=0)
    maxReplicas: int = Field(ge=0)


class AutoscalerOptions(_Strict):
    version: Literal["v1", "v2"]
    idleTimeoutSeconds: int


class AuthOptions(_Strict):
    mode: Literal["disabled", "token"]


class RedisCredential(_Strict):
    valueFrom: ValueFrom


class GcsFaultTolerance(_Strict):
    redisAddress: str
    redisPassword: RedisCredential
    externalStorageNamespace: str


class RayClusterSpec(_Strict):
    rayVersion: str
    enableInTreeAutoscaling: bool
    autoscalerOptions: AutoscalerOptions
    authOptions: AuthOptions
    gcsFaultToleranceOptions: GcsFaultTolerance
    headGroupSpec: HeadGroup
    workerGroupSpecs: list[WorkerGroup]

    @model_validator(mode="after")
    def _redis_is_named_once(self) -> "RayClusterSpec":
        """After ValidateRayClusterSpec (ray-operator/controllers/ray/utils/validation.go), of options for the GCS."""
        head = self.headGroupSpec
        named = {variable.name for container in head.template.spec.containers for variable in container.env}
        if wrong := named & {"REDIS_PASSWORD", "RAY_REDIS_ADDRESS"} | head.rayStartParams.keys() & {"redis-password"}:
            raise ValueError(f"{', '.join(sorted(wrong))} can't be set beside gcsFaultToleranceOptions")
        return self


class UpgradeStrategy(_Strict):
    type: Literal["NewCluster", "NewClusterWithIncrementalUpgrade", "None"]


class RayServiceSpec(_Strict):
    serveConfigV2: str
    upgradeStrategy: UpgradeStrategy
    rayClusterConfig: RayClusterSpec


class RayService(_Strict):
    apiVersion: Literal["ray.io/v1"]
    kind: Literal["RayService"]
    metadata: Metadata
    spec: RayServiceSpec


def ray_services(documents: list[dict[str, Any]]) -> list[RayService]:
    return [RayService.model_validate(each) for each in documents if each["kind"] == "RayService"]
