"""What components add: where images are built, what they are pulled with, who counts requests."""

import pytest

from deploy.doctor.cluster.rights import LOOKS_AT_BUILDS, USES_OF_BUILDS, rights
from resources.kubernetes_api.pod_template import labels
from resources.kubernetes_api.settings import ClusterSettings
from resources.services.cluster.image_builder import Build, build_job
from tests.deploy import manifests
from tests.deploy.manifests import of_kind

BUILDS = "orrery-builds"
LEVEL = "pod-security.kubernetes.io/enforce"


def of_builds(things: tuple[dict, ...], kind: str) -> list[dict]:
    """Objects of a kind in the namespace of builds."""
    return [t for t in of_kind(things, kind) if t["metadata"].get("namespace") == BUILDS]


def settings(things: tuple[dict, ...]) -> dict[str, str]:
    return manifests.the(things, "ConfigMap", "orrery-settings")["data"]


@pytest.fixture(scope="module")
def building(tmp_path_factory) -> tuple[dict, ...]:
    """The base with a bucket and a namespace for builds."""
    return manifests.composed(tmp_path_factory.mktemp("overlay"), "minio", "builder")


def test_builds_are_admitted_in_their_namespace_alone(building):
    levels = {
        namespace["metadata"]["name"]: namespace["metadata"]["labels"][LEVEL]
        for namespace in of_kind(building, "Namespace")
    }

    assert levels == {"orrery": "restricted", BUILDS: "privileged"}
    assert settings(building)["ORRERY_CLUSTER_BUILD_NAMESPACE"] == BUILDS


def test_builds_have_no_token_and_no_rights(building):
    (account,) = of_builds(building, "ServiceAccount")
    bindings = of_builds(building, "RoleBinding")
    job = build_job(Build("r/m:v1", "s3://b/x", "0" * 64, "base", {}), ClusterSettings())

    assert account["automountServiceAccountToken"] is False
    spec = job["spec"]["template"]["spec"]
    assert spec.get("serviceAccountName", "default") == account["metadata"]["name"]
    subjects = [subject for binding in bindings for subject in binding["subjects"]]
    assert {(each["name"], each["namespace"]) for each in subjects} == {
        ("orrery-run", "orrery"),
        ("orrery-gateway", "orrery"),
    }


@pytest.mark.parametrize("table", [USES_OF_BUILDS, LOOKS_AT_BUILDS])
def test_every_account_has_every_right_that_it_needs_where_images_are_built(building, table):
    for account, uses in table.items():
        bound = [
            binding["roleRef"]["name"]
            for binding in of_builds(building, "RoleBinding")
            if {"kind": "ServiceAccount", "name": account, "namespace": "orrery"}
            in binding["subjects"]
        ]
        roles = [manifests.the(of_builds(building, "Role"), "Role", name) for name in bound]
        for right in rights(uses, ClusterSettings()):
            assert any(manifests.allows(role, right) for role in roles), (account, str(right))


def test_builds_are_let_out_to_names_bucket_and_registry_alone(building):
    denied, outward = sorted(
        of_builds(building, "NetworkPolicy"), key=lambda policy: policy["metadata"]["name"]
    )

    assert denied["spec"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    anywhere = [rule for rule in outward["spec"]["egress"] if "to" not in rule]
    assert anywhere == [{"ports": [{"port": 443, "protocol": "TCP"}]}]
    base = manifests.the(building, "NetworkPolicy", "outward")["spec"]["egress"]
    names = [rule for rule in base if rule.get("ports", [{}])[0].get("port") == 53]
    assert outward["spec"]["egress"][:1] == names


def test_the_bucket_in_the_cluster_lets_builds_in(building):
    policy = manifests.the(building, "NetworkPolicy", "minio")["spec"]
    outward = manifests.the(building, "NetworkPolicy", "outward-of-builds")["spec"]["egress"]
    visitors = policy["ingress"][0]["from"]
    selectors = [to for rule in outward for to in rule.get("to", ())]

    of_namespace = {"matchLabels": {"kubernetes.io/metadata.name": BUILDS}}
    assert {"namespaceSelector": of_namespace} in visitors
    of_platform = {"matchLabels": {"kubernetes.io/metadata.name": "orrery"}}
    assert {"namespaceSelector": of_platform, "podSelector": policy["podSelector"]} in selectors


def test_every_account_pulls_from_a_private_registry(tmp_path):
    things = manifests.composed(tmp_path, "builder", "pull-secrets")

    pulling = {
        (t["metadata"]["namespace"], t["metadata"]["name"]): t["imagePullSecrets"]
        for t in of_kind(things, "ServiceAccount")
    }

    assert pulling.keys() == {
        (BUILDS, "default"),
        *(("orrery", n) for n in ("default", "orrery-gateway", "orrery-daemon", "orrery-run")),
        ("orrery", "orrery-collection"),
    }
    assert set(map(str, pulling.values())) == {"[{'name': 'orrery-registry'}]"}
    assert settings(things)["ORRERY_CLUSTER_IMAGE_PULL_SECRETS"] == "orrery-registry"


def test_prometheus_is_told_of_the_pods_of_services():
    monitor = manifests.the(manifests.overlay("prod"), "PodMonitor", "services")

    assert monitor["spec"]["selector"] == {"matchLabels": labels("service")}
    (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
    assert (endpoint["port"], endpoint["path"]) == ("http", "/metrics")


def test_the_documented_patch_gives_it_the_label_that_prometheus_selects(tmp_path):
    things = manifests.composed(tmp_path, "keda", patches=manifests.documented("PodMonitor"))

    monitor = manifests.the(things, "PodMonitor", "services")
    assert monitor["metadata"]["labels"] == {"release": "YOUR-RELEASE"}


def test_the_shape_of_a_pod_monitor_refuses_what_it_does_not_know():
    monitor = manifests.the(manifests.overlay("prod"), "PodMonitor", "services")

    with pytest.raises(Exception, match="endpoints"):
        manifests.check(monitor | {"spec": {**monitor["spec"], "endpoints": []}})


def test_the_gateway_may_ask_the_prometheus_that_is_named():
    things = manifests.overlay("prod")
    policy = manifests.the(things, "NetworkPolicy", "to-prometheus")["spec"]

    (rule,) = policy["egress"]
    port = settings(things)["ORRERY_CLUSTER_PROMETHEUS_URL"].rpartition(":")[2]
    assert rule["ports"] == [{"port": int(port), "protocol": "TCP"}]
    assert policy["podSelector"] == {"matchLabels": {"app.kubernetes.io/name": "gateway"}}
