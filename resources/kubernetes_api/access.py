"""Who may do what in a namespace, as the API server says."""

from collections.abc import Mapping
from typing import Any

from resources.kubernetes_api.client import FORBIDDEN, Cluster, ClusterRefused
from resources.kubernetes_api.kinds import CLUSTER_WIDE, KINDS, group_of


def may(cluster: Cluster, verb: str, kind: str, subresource: str = "") -> bool:
    """Whether this process may do that in the namespace."""
    attributes = _attributes(cluster, verb, kind, subresource)
    return _allowed(cluster, "SelfSubjectAccessReview", {"resourceAttributes": attributes})


def account_may(
    cluster: Cluster, account: str, verb: str, kind: str, subresource: str = ""
) -> bool:
    """Whether `system:serviceaccount:NAMESPACE:NAME` may do that in the namespace.

    Raises ClusterRefused where this process may not ask.
    """
    groups = ["system:serviceaccounts", f"system:serviceaccounts:{account.split(':')[2]}"]
    asked = {
        "resourceAttributes": _attributes(cluster, verb, kind, subresource),
        "user": account,
        "groups": [*groups, "system:authenticated"],
    }
    try:
        return _allowed(cluster, "LocalSubjectAccessReview", asked)
    except ClusterRefused as error:
        # Some who may not ask for one namespace may ask for all.
        if error.status != FORBIDDEN:
            raise
        return _allowed(cluster, "SubjectAccessReview", asked)


def who(cluster: Cluster) -> str:
    """Name of the user that this process is to the cluster; empty where it does not say."""
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    try:
        answer = cluster.create(review)
    except ClusterRefused:
        return ""
    return str(answer["status"]["userInfo"].get("username", ""))


def _attributes(cluster: Cluster, verb: str, kind: str, subresource: str) -> dict[str, str]:
    resource = {"verb": verb, "group": group_of(kind), "resource": KINDS[kind][1]}
    resource["namespace"] = cluster.namespace
    return resource | ({"subresource": subresource} if subresource else {})


def _allowed(cluster: Cluster, kind: str, asked: Mapping[str, Any]) -> bool:
    review = {"apiVersion": "authorization.k8s.io/v1", "kind": kind, "spec": asked}
    if kind not in CLUSTER_WIDE:
        review["metadata"] = {"namespace": cluster.namespace}
    return bool(cluster.create(review)["status"]["allowed"])
