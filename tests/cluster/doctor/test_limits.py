"""The doctor says of a namespace's limits what its API server does with a run pod."""

import pytest

from resources.kubernetes_api.pod_template import run_resources
from resources.kubernetes_api.settings import ClusterSettings
from tests.cluster.doctor.examined import findings, named, the, unwell
from tests.cluster.double.api.errors import ApiError
from tests.cluster.double.nodes.images import PYTHON_IMAGE
from tests.waiting import until

pytest_plugins = ("tests.cluster.doctor.examined",)


def limit_range(cluster, **item):
    """A LimitRange of the namespace, of one item."""
    item.setdefault("type", "Container")
    thing = {**named("LimitRange", "bounds", cluster.namespace), "spec": {"limits": [item]}}
    cluster.api.create(thing)


def quota(cluster, hard, **spec):
    """A ResourceQuota of the namespace, whose use has been counted."""
    thing = {**named("ResourceQuota", "budget", cluster.namespace), "spec": {"hard": hard, **spec}}
    cluster.api.create(thing)
    until(lambda: "used" in cluster.api.get("ResourceQuota", "budget").get("status", {}), 20)


def run_pod(name="a-run", **resources):
    container = {
        "name": "main",
        "image": PYTHON_IMAGE,
        "resources": resources or run_resources(ClusterSettings(namespace="test")),
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {"containers": [container], "nodeSelector": {"nowhere": "true"}},
    }


def is_admitted(cluster):
    """Whether the API server takes a pod of the size of a run's."""
    try:
        cluster.api.create(run_pod())
    except ApiError as error:
        assert error.code == 403
        return False
    return True


@pytest.mark.parametrize(
    "item",
    [
        {"max": {"memory": "512Mi"}},
        {"max": {"cpu": "200m"}},
        {"max": {"cpu": "1"}},
        {"max": {"memory": "1Gi"}},
        {"min": {"memory": "2Gi"}},
        {"min": {"cpu": "500m"}},
        {"min": {"cpu": "50m"}},
        {"default": {"cpu": "2"}},
        {"default": {"cpu": "2"}, "maxLimitRequestRatio": {"cpu": "4"}},
        {"maxLimitRequestRatio": {"cpu": "4"}},
        {"maxLimitRequestRatio": {"memory": "1"}},
        {"type": "Pod", "max": {"cpu": "1"}},
        {"type": "Pod", "max": {"memory": "2Gi"}},
        {"type": "Pod", "min": {"memory": "2Gi"}},
        {"type": "PersistentVolumeClaim", "max": {"storage": "1Gi"}},
    ],
    ids=str,
)
def test_a_limit_range_is_missing_where_it_refuses_run_pods_and_only_there(whole, item):
    limit_range(whole, **item)

    state = the("LimitRanges").state

    assert state == ("ok" if is_admitted(whole) else "missing")


@pytest.mark.parametrize(
    ("item", "said"),
    [
        ({"max": {"memory": "512Mi"}}, "the memory of a run pod is 1Gi, the greatest is 512Mi"),
        ({"min": {"cpu": "500m"}}, "the cpu of a run pod is 50m, the least is 500m"),
        ({"type": "Pod", "max": {"cpu": "1"}}, "it wants a limit of cpu for each pod"),
        (
            {"default": {"cpu": "2"}, "maxLimitRequestRatio": {"cpu": "4"}},
            "the limit of cpu is 40 times the request, the most is 4",
        ),
    ],
)
def test_a_limit_range_that_refuses_is_named_with_what_it_wants(whole, item, said):
    limit_range(whole, **item)

    one = the("LimitRanges")

    assert unwell() == {"LimitRanges": "missing"}
    assert "run pods are refused by bounds" in one.message
    assert said in one.message
    assert one.commands == (f"kubectl -n {whole.namespace} edit limitrange bounds",)


@pytest.mark.parametrize(
    "hard",
    [
        {"limits.cpu": "64"},
        {"limits.memory": "64Gi"},
        {"requests.cpu": "20m"},
        {"requests.memory": "256Mi"},
        {"memory": "256Mi"},
        {"cpu": "50m"},
        {"pods": "0"},
        {"pods": "1"},
        {"requests.nvidia.com/gpu": "0"},
        {"requests.storage": "0"},
    ],
    ids=str,
)
def test_a_quota_is_missing_where_it_refuses_run_pods_and_only_there(whole, hard):
    quota(whole, hard)

    state = the("ResourceQuota budget").state

    assert state == ("ok" if is_admitted(whole) else "missing")


def test_a_quota_on_limits_of_cpu_refuses_pods_that_set_none(whole):
    quota(whole, {"limits.cpu": "64"})

    one = the("ResourceQuota budget")

    assert "limits.cpu, which run pods do not name" in one.message
    assert "add a LimitRange" in one.todo
    assert one.commands == (f"kubectl -n {whole.namespace} edit resourcequota budget",)


def test_a_limit_range_with_a_default_helps_a_quota_on_limits_of_cpu(whole):
    quota(whole, {"limits.cpu": "64"})
    limit_range(whole, default={"cpu": "2"})

    assert unwell() == {}
    assert is_admitted(whole)


def test_a_quota_that_is_used_up_is_a_warning_with_what_is_left(whole):
    quota(whole, {"requests.memory": "2Gi"})
    amounts = {"cpu": "250m", "memory": "1792Mi"}
    whole.api.create(run_pod("another", requests=amounts, limits=amounts))
    until(lambda: unwell() == {"ResourceQuota budget": "warning"}, 20)

    one = the("ResourceQuota budget")

    assert "requests.memory is 512Mi, left is 256Mi" in one.message
    assert not is_admitted(whole)


@pytest.mark.parametrize("scope", ["BestEffort", "Terminating"])
def test_a_quota_of_other_pods_is_none_of_run_pods(whole, scope):
    quota(whole, {"pods": "0"}, scopes=[scope])

    assert the("ResourceQuotas").state == "ok"


def test_a_quota_on_what_run_pods_are_bounds_them(whole):
    quota(whole, {"pods": "0"}, scopes=["NotBestEffort"])

    assert the("ResourceQuota budget").state == "missing"


@pytest.mark.parametrize("kind", ["LimitRanges", "ResourceQuotas"])
def test_limits_that_may_not_be_read_are_skipped_with_the_command(whole, kind):
    plural = kind.lower()
    whole.api.deny("list", plural)

    (one,) = [each for each in findings() if each.name == kind]

    assert one.state == "skipped"
    assert one.commands == (f"kubectl -n {whole.namespace} get {plural}",)
