"""The kinds of objects that the platform knows: where the API serves them."""

KINDS = {
    "Pod": ("api/v1", "pods"),
    "Service": ("api/v1", "services"),
    "ResourceQuota": ("api/v1", "resourcequotas"),
    "LimitRange": ("api/v1", "limitranges"),
    "Event": ("api/v1", "events"),
    "ConfigMap": ("api/v1", "configmaps"),
    "Secret": ("api/v1", "secrets"),
    "Node": ("api/v1", "nodes"),
    "Namespace": ("api/v1", "namespaces"),
    "Job": ("apis/batch/v1", "jobs"),
    "Deployment": ("apis/apps/v1", "deployments"),
    "HorizontalPodAutoscaler": ("apis/autoscaling/v2", "horizontalpodautoscalers"),
    "PodDisruptionBudget": ("apis/policy/v1", "poddisruptionbudgets"),
    "NetworkPolicy": ("apis/networking.k8s.io/v1", "networkpolicies"),
    "StorageClass": ("apis/storage.k8s.io/v1", "storageclasses"),
    "RayJob": ("apis/ray.io/v1", "rayjobs"),
    "HTTPRoute": ("apis/gateway.networking.k8s.io/v1", "httproutes"),
    "Gateway": ("apis/gateway.networking.k8s.io/v1", "gateways"),
    "GatewayClass": ("apis/gateway.networking.k8s.io/v1", "gatewayclasses"),
    "ScaledObject": ("apis/keda.sh/v1alpha1", "scaledobjects"),
    "LocalQueue": ("apis/kueue.x-k8s.io/v1beta2", "localqueues"),
    "Workload": ("apis/kueue.x-k8s.io/v1beta2", "workloads"),
    "WorkloadPriorityClass": ("apis/kueue.x-k8s.io/v1beta2", "workloadpriorityclasses"),
    "APIService": ("apis/apiregistration.k8s.io/v1", "apiservices"),
    "LocalSubjectAccessReview": (
        "apis/authorization.k8s.io/v1",
        "localsubjectaccessreviews",
    ),
    "SubjectAccessReview": ("apis/authorization.k8s.io/v1", "subjectaccessreviews"),
    "SelfSubjectAccessReview": ("apis/authorization.k8s.io/v1", "selfsubjectaccessreviews"),
    "SelfSubjectReview": ("apis/authentication.k8s.io/v1", "selfsubjectreviews"),
}
"""Path of the API's version, and the kind's plural, by kind."""
CLUSTER_WIDE = {
    "APIService",
    "GatewayClass",
    "Namespace",
    "Node",
    "SelfSubjectAccessReview",
    "SelfSubjectReview",
    "StorageClass",
    "SubjectAccessReview",
    "WorkloadPriorityClass",
}
"""Kinds whose objects are in no namespace."""


def group_of(kind: str) -> str:
    """The API group of the kind, as roles name it; empty for the core's."""
    prefix, _ = KINDS[kind]
    return prefix.split("/")[1] if prefix.startswith("apis/") else ""
