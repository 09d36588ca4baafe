"""The operators that the platform works with: how they are found, and who of them comes in."""

from dataclasses import dataclass
from typing import Literal

from resources.kubernetes_api.settings import ClusterSettings

ENTERS = "orrery/enters"
"""Label of namespaces whose pods the network policies of `base/network.yaml` let in."""
RUNS_RAY = "orrery/runs-ray"
"""Label of the namespace of KubeRay, which alone reaches the job ports of Ray."""


@dataclass(frozen=True)
class Operator:
    """A controller of another maker, which runs as a Deployment somewhere in the cluster."""

    name: str
    product: str
    """What is installed, with its version."""
    selectors: tuple[str, ...]
    """Labels of its Deployment, as selectors; those of its different ways of installation."""
    deployment: str
    """Name of its Deployment, where nobody chose another."""
    sign: Literal["RayJob", "LocalQueue", "Gateway", "external metrics"]
    """What shows that it works to those who may not list Deployments everywhere."""
    is_out_of_sight: bool = False
    """Whether some providers run it where none of its Deployments can be seen."""
    enters: str = ""
    """Label, with the value `true`, of its namespace; empty where none of its pods comes in."""


KUBERAY = Operator(
    name="KubeRay",
    product="KubeRay 1.7.0",
    selectors=(
        "app.kubernetes.io/name=kuberay-operator",
        "app.kubernetes.io/component=kuberay-operator",
    ),
    deployment="kuberay-operator",
    sign="RayJob",
    # GKE's Ray operator is an add-on of the control plane.
    is_out_of_sight=True,
    enters=RUNS_RAY,
)
KUEUE = Operator(
    name="Kueue",
    product="Kueue 0.19.2",
    selectors=("app.kubernetes.io/name=kueue,control-plane=controller-manager",),
    deployment="kueue-controller-manager",
    sign="LocalQueue",
)
GATEWAYS = Operator(
    name="Gateway controller",
    product="an implementation of Gateway API 1.6.1, such as Envoy Gateway",
    selectors=("control-plane=envoy-gateway",),
    deployment="envoy-gateway",
    sign="Gateway",
    enters=ENTERS,
)
KEDA = Operator(
    name="KEDA",
    product="KEDA 2.20.2",
    selectors=("app.kubernetes.io/name=keda-operator", "app=keda-operator"),
    deployment="keda-operator",
    sign="external metrics",
)
PROMETHEUS_ENTERS = ENTERS
"""Label of the namespace of Prometheus, which asks services for their metrics."""


def operators(settings: ClusterSettings) -> list[Operator]:
    """Those that the settings need."""
    needed = {
        KUBERAY: True,
        KUEUE: bool(settings.queue),
        GATEWAYS: bool(settings.gateway),
        KEDA: settings.autoscaler == "keda",
    }
    return [operator for operator, is_needed in needed.items() if is_needed]
