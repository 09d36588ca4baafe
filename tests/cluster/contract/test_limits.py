"""LimitRanges, quotas and reviews of access do here what they do on every cluster."""

import pytest
from kubernetes import client
from kubernetes.client.rest import ApiException

from tests.cluster.kube import SLEEP


def limit_range(kube, **item):
    body = {"metadata": {"name": "bounds"}, "spec": {"limits": [{"type": "Container", **item}]}}
    return kube.core.create_namespaced_limit_range(kube.namespace, body)


def test_the_greatest_of_a_limit_range_is_its_default_and_that_of_containers(kube):
    created = limit_range(kube, max={"cpu": "2"})

    pod = kube.create_pod("plain", SLEEP)

    (item,) = created.spec.limits
    assert (item.default, item.default_request) == ({"cpu": "2"}, {"cpu": "2"})
    resources = pod.spec.containers[0].resources
    assert (resources.limits, resources.requests) == ({"cpu": "2"}, {"cpu": "2"})


@pytest.mark.parametrize(
    ("item", "resources"),
    [
        ({"max": {"memory": "1Gi"}}, {"limits": {"memory": "2Gi"}}),
        ({"min": {"cpu": "500m"}}, {"requests": {"cpu": "100m"}}),
        (
            {"maxLimitRequestRatio": {"cpu": "2"}},
            {"requests": {"cpu": "100m"}, "limits": {"cpu": "1"}},
        ),
    ],
)
def test_a_pod_beyond_a_limit_range_is_refused(kube, item, resources):
    limit_range(kube, **item)

    with pytest.raises(ApiException) as refused:
        kube.create_pod("beyond", SLEEP, resources=resources)

    assert refused.value.status == 403


def test_an_account_without_a_role_may_not_look_at_secrets_where_roles_count(kube):
    if hasattr(kube.cluster, "api"):
        kube.cluster.api.act_as("test", has_roles=True)
    user = f"system:serviceaccount:{kube.namespace}:nobody"
    asked = {"namespace": kube.namespace, "verb": "get", "resource": "secrets"}
    spec = {"user": user, "resourceAttributes": asked}

    answer = client.AuthorizationV1Api(kube.client).create_namespaced_local_subject_access_review(
        kube.namespace, {"metadata": {"namespace": kube.namespace}, "spec": spec}
    )

    assert answer.status.allowed is False


def test_a_role_that_is_bound_gives_its_rights_to_the_account(kube):
    if hasattr(kube.cluster, "api"):
        kube.cluster.api.act_as("test", has_roles=True)
    rbac = client.RbacAuthorizationV1Api(kube.client)
    rules = [{"apiGroups": [""], "resources": ["pods/log"], "verbs": ["get"]}]
    rbac.create_namespaced_role(kube.namespace, {"metadata": {"name": "logs"}, "rules": rules})
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "logs"}
    subjects = [{"kind": "ServiceAccount", "name": "reads", "namespace": kube.namespace}]
    rbac.create_namespaced_role_binding(
        kube.namespace,
        {"metadata": {"name": "logs"}, "roleRef": reference, "subjects": subjects},
    )
    authorization = client.AuthorizationV1Api(kube.client)

    def may(subresource):
        asked = {"namespace": kube.namespace, "verb": "get", "resource": "pods"}
        user = f"system:serviceaccount:{kube.namespace}:reads"
        spec = {"user": user, "resourceAttributes": {**asked, "subresource": subresource}}
        return authorization.create_subject_access_review({"spec": spec}).status.allowed

    assert (may("log"), may("")) == (True, False)
