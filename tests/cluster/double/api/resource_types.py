"""The resource types the API server serves."""

from dataclasses import dataclass, field
from typing import Any

Object = dict[str, Any]


@dataclass(frozen=True)
class ResourceType:
    """One plural of an API group, with every version it is served under."""

    group: str
    versions: tuple[str, ...]
    plural: str
    kind: str
    namespaced: bool = True
    status: bool = False
    scale: bool = False
    short_names: tuple[str, ...] = ()
    custom: bool = False
    spec: bool = field(default=True, compare=False)

    @property
    def api_version(self) -> str:
        """`apiVersion` of the stored version."""
        return self.at(self.versions[0])

    def at(self, version: str) -> str:
        """`apiVersion` under the version given."""
        return f"{self.group}/{version}" if self.group else version

    @property
    def qualified(self) -> str:
        """Plural with group, as error messages name it."""
        return f"{self.plural}.{self.group}" if self.group else self.plural


def _core(plural: str, kind: str, *short: str, **options: Any) -> ResourceType:
    return ResourceType("", ("v1",), plural, kind, short_names=short, **options)


def _of(group: str, version: str, plural: str, kind: str, *short: str, **options: Any):
    return ResourceType(group, (version,), plural, kind, short_names=short, **options)


def _custom(group: str, versions: str, plural: str, kind: str, **options: Any) -> ResourceType:
    options = {"status": True, **options}
    return ResourceType(group, tuple(versions.split()), plural, kind, custom=True, **options)


_RBAC = "rbac.authorization.k8s.io"
_GATEWAY = "gateway.networking.k8s.io"
_KUEUE = "kueue.x-k8s.io"

RESOURCE_TYPES: tuple[ResourceType, ...] = (
    _core("pods", "Pod", "po", status=True),
    _core("services", "Service", "svc", status=True),
    _core("configmaps", "ConfigMap", "cm", spec=False),
    _core("secrets", "Secret", spec=False),
    _core("events", "Event", "ev", spec=False),
    _core("namespaces", "Namespace", "ns", namespaced=False, status=True),
    _core("nodes", "Node", "no", namespaced=False, status=True),
    _core("serviceaccounts", "ServiceAccount", "sa", spec=False),
    _core("persistentvolumeclaims", "PersistentVolumeClaim", "pvc", status=True),
    _core("resourcequotas", "ResourceQuota", "quota", status=True),
    _core("limitranges", "LimitRange", "limits"),
    _core("endpoints", "Endpoints", "ep", spec=False),
    _of("batch", "v1", "jobs", "Job", status=True),
    _of("batch", "v1", "cronjobs", "CronJob", "cj", status=True),
    _of("apps", "v1", "deployments", "Deployment", "deploy", status=True, scale=True),
    _of("apps", "v1", "replicasets", "ReplicaSet", "rs", status=True, scale=True),
    _of("apps", "v1", "statefulsets", "StatefulSet", "sts", status=True, scale=True),
    _of("autoscaling", "v2", "horizontalpodautoscalers", "HorizontalPodAutoscaler", status=True),
    _of("policy", "v1", "poddisruptionbudgets", "PodDisruptionBudget", "pdb", status=True),
    _of("networking.k8s.io", "v1", "ingresses", "Ingress", "ing", status=True),
    _of("networking.k8s.io", "v1", "networkpolicies", "NetworkPolicy", "netpol"),
    _of(_RBAC, "v1", "roles", "Role", spec=False),
    _of(_RBAC, "v1", "rolebindings", "RoleBinding", spec=False),
    _of(_RBAC, "v1", "clusterroles", "ClusterRole", namespaced=False, spec=False),
    _of(_RBAC, "v1", "clusterrolebindings", "ClusterRoleBinding", namespaced=False, spec=False),
    _of("storage.k8s.io", "v1", "storageclasses", "StorageClass", "sc", namespaced=False),
    _of("apiregistration.k8s.io", "v1", "apiservices", "APIService", namespaced=False, status=True),
    _of("scheduling.k8s.io", "v1", "priorityclasses", "PriorityClass", "pc", namespaced=False),
    _of("coordination.k8s.io", "v1", "leases", "Lease"),
    _of("discovery.k8s.io", "v1", "endpointslices", "EndpointSlice", spec=False),
    _custom("ray.io", "v1", "rayjobs", "RayJob"),
    _custom("ray.io", "v1", "rayclusters", "RayCluster"),
    _custom(_KUEUE, "v1beta2 v1beta1", "workloads", "Workload"),
    _custom(_KUEUE, "v1beta2 v1beta1", "localqueues", "LocalQueue"),
    _custom(_KUEUE, "v1beta2 v1beta1", "clusterqueues", "ClusterQueue", namespaced=False),
    _custom(
        _KUEUE,
        "v1beta2 v1beta1",
        "resourceflavors",
        "ResourceFlavor",
        namespaced=False,
        status=False,
    ),
    _custom(
        _KUEUE,
        "v1beta2 v1beta1",
        "workloadpriorityclasses",
        "WorkloadPriorityClass",
        namespaced=False,
        status=False,
    ),
    _custom(_GATEWAY, "v1", "gateways", "Gateway"),
    _custom(_GATEWAY, "v1", "gatewayclasses", "GatewayClass", namespaced=False),
    _custom(_GATEWAY, "v1", "httproutes", "HTTPRoute"),
    _custom("keda.sh", "v1alpha1", "scaledobjects", "ScaledObject"),
)

BY_KIND = {each.kind: each for each in RESOURCE_TYPES}
BY_PATH = {
    (each.group, version, each.plural): each for each in RESOURCE_TYPES for version in each.versions
}


def custom_resource_definition(resource: ResourceType) -> Object:
    """The CustomResourceDefinition the API server reports for a custom type."""
    names = {"kind": resource.kind, "listKind": f"{resource.kind}List", "plural": resource.plural}
    names["singular"] = resource.kind.lower()
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": resource.qualified, "uid": resource.qualified, "resourceVersion": "1"},
        "spec": {
            "group": resource.group,
            "names": names,
            "scope": "Namespaced" if resource.namespaced else "Cluster",
            "versions": [
                {
                    "name": version,
                    "served": True,
                    "storage": version == resource.versions[0],
                    "subresources": {"status": {}} if resource.status else {},
                    "schema": {"openAPIV3Schema": {"type": "object"}},
                }
                for version in resource.versions
            ],
        },
        "status": {
            "acceptedNames": names,
            "storedVersions": [resource.versions[0]],
            "conditions": [
                {"type": "NamesAccepted", "status": "True", "reason": "NoConflicts"},
                {"type": "Established", "status": "True", "reason": "InitialNamesAccepted"},
            ],
        },
    }


def converted(resource: ResourceType, item: Object, version: str) -> Object:
    """The stored object as a version of its API shows it."""
    shown: dict[str, Any] = {**item, "apiVersion": resource.at(version)}
    if resource.kind == "Workload" and version == "v1beta1":
        spec = dict(shown.get("spec") or {})
        if reference := spec.pop("priorityClassRef", None):
            spec["priorityClassName"] = reference["name"]
            spec["priorityClassSource"] = f"{reference['group']}/{reference['kind'].lower()}"
        shown["spec"] = spec
    return shown
