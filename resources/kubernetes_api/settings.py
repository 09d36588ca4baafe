"""Settings of a Kubernetes cluster, from `ORRERY_CLUSTER_*` variables; without them nothing of it
is used."""

from pathlib import Path
from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from projects.placement import Memory

RUNS_OF_A_CLUSTER = 64
"""Dagster_runs under way at once, where the settings say nothing: on a cluster one holds its place
while its job waits in a queue."""


class ClusterSettings(BaseSettings):
    """Where on a cluster work runs, and with what images."""

    model_config = SettingsConfigDict(env_prefix="ORRERY_CLUSTER_", frozen=True, extra="ignore")

    namespace: str = ""
    """Namespace of runs, training jobs and services; empty for the embedded default."""
    kubeconfig: Path | None = None
    """How the cluster is reached from outside it; inside it, its service account is used."""
    control_image: str = "orrery-control"
    """Image of run pods: the platform without engines."""
    training_image: str = "orrery-training"
    """Image of training, simulation and packaging jobs, where a declaration names none."""
    serving_image: str = "orrery-serving"
    """Image of services, and the base of images that are built of Bentos."""
    builder_image: str = "moby/buildkit:v0.26.2-rootless"
    """Image that builds the images of services inside the cluster."""
    service_account: str = "orrery-run"
    """Service account of run pods."""
    config_map: str = "orrery-settings"
    """ConfigMap whose entries are environment variables of runs and jobs."""
    secret: str = "orrery-secrets"  # noqa: S105
    """Secret whose entries are environment variables of run pods."""
    engine_secret: str = "orrery-engines"  # noqa: S105
    """Secret with the bucket and MLflow alone: all that training code is given."""
    bucket_secret: str = "orrery-bucket"  # noqa: S105
    """Secret with the credentials of the bucket alone: all that services are given."""
    image_pull_secrets: str = ""
    """Names of Secrets, separated by commas, that images are pulled with."""
    queue: str = ""
    """Kueue LocalQueue of jobs whose declaration names none; empty where Kueue is not used."""
    gpu_kinds: str = ""
    """Kinds of GPUs and the value that a node's label has for each, by commas:
    `A100=NVIDIA-A100-SXM4-80GB,T4=Tesla-T4`."""
    gpu_label: str = "nvidia.com/gpu.product"
    """Label of nodes that names the kind of their GPUs; flavors of Kueue use the same."""
    registry: str = ""
    """Where images of services are pushed; empty: the serving image fetches the Bento itself."""
    build_namespace: str = ""
    """Namespace in which images of services are built; empty: that of the platform, whose
    PodSecurity level must then admit BuildKit."""
    gateway: str = ""
    """Gateway of services, as `namespace/name`."""
    services_host: str = ""
    """Host name of services at the Gateway; empty for any."""
    services_url: str = ""
    """Address of the Gateway as clients reach it."""
    autoscaler: Literal["hpa", "keda"] = "hpa"
    """What scales services between the declared bounds."""
    prometheus_url: str = ""
    """Where KEDA reads the rate of requests."""
    requests_per_replica: int = Field(default=200, ge=1)
    """Requests in a second at which KEDA adds a replica."""
    spread_zones: bool = False
    """Whether replicas of a service must lie in different zones."""
    poll_s: float = Field(default=2.0, gt=0)
    """Time between two looks at an object that nothing was heard of."""

    run_cpus: float = Field(default=0.05, gt=0)
    """Processors that a run pod asks for; it waits most of the time, and may use more."""
    run_memory: Memory = "512Mi"
    """Memory that a run pod asks for."""
    run_memory_limit: Memory = "1Gi"
    """Memory above which a run pod is ended."""
    cpu_limits: bool = False
    """Whether pods have a limit of processors, as a quota on `limits.cpu` demands; without one they
    may use what is idle."""

    lease_s: float = Field(default=900.0, gt=0)
    """Time after which a job whose driver is gone, and has no successor, ends itself."""

    stuck_s: float = Field(default=600.0, gt=0)
    """Time after which a job is refused whose image cannot be pulled or that names what is not
    there; waiting for a queue or a node has no end."""

    @property
    def is_used(self) -> bool:
        """Whether work runs on a cluster."""
        return bool(self.namespace)

    @property
    def gpu_labels(self) -> dict[str, str]:
        """Value of the node's label by kind of GPU."""
        pairs = (pair.partition("=") for pair in self.gpu_kinds.split(",") if pair.strip())
        return {kind.strip(): value.strip() or kind.strip() for kind, _, value in pairs}

    @property
    def pull_secrets(self) -> list[dict[str, str]]:
        """Image pull secrets as a pod names them."""
        names = (name.strip() for name in self.image_pull_secrets.split(","))
        return [{"name": name} for name in names if name]
