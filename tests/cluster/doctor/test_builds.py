"""The doctor looks at where images of services are built, where a registry is set."""

import pytest

from deploy.doctor.cluster import right_checks
from resources.kubernetes_api.access import account_may
from tests.cluster.doctor.examined import findings, named, the

pytest_plugins = ("tests.cluster.doctor.examined",)

LEVEL = "pod-security.kubernetes.io/enforce"
BUILDS = "orrery-builds"
SECRETS = ("orrery-bucket", "orrery-registry")


@pytest.fixture
def building(whole, monkeypatch):
    """A whole platform with a registry."""
    monkeypatch.setenv("ORRERY_CLUSTER_REGISTRY", "registry.example/models")
    monkeypatch.setenv("ORRERY_CLUSTER_BUILD_NAMESPACE", BUILDS)
    monkeypatch.setenv("ORRERY_CLUSTER_IMAGE_PULL_SECRETS", "orrery-registry")
    whole.api.create(named("Namespace", BUILDS, ""))
    for name in SECRETS:
        whole.api.create(named("Secret", name, BUILDS))
    return whole


def test_builds_that_lack_nothing_are_well(building):
    states = {each.name: each.state for each in findings()}

    assert set(states.values()) == {"ok"}
    secrets = [f"Secret {name} of builds" for name in SECRETS]
    assert {"builds", "rights of orrery-run in builds", *secrets} <= states.keys()


def test_without_a_registry_nothing_is_said_of_builds(whole):
    assert [each.name for each in findings() if "builds" in each.name] == []


def test_a_registry_wants_a_namespace_for_builds(building, monkeypatch):
    monkeypatch.delenv("ORRERY_CLUSTER_BUILD_NAMESPACE")

    one = the("builds")

    assert one.state == "missing"
    assert "components/builder" in one.todo
    assert "ORRERY_CLUSTER_BUILD_NAMESPACE" in one.todo


def test_a_namespace_that_is_not_there_is_named(building, monkeypatch):
    monkeypatch.setenv("ORRERY_CLUSTER_BUILD_NAMESPACE", "elsewhere")

    assert "there is no namespace elsewhere" in the("builds").message


@pytest.mark.parametrize("level", ["baseline", "restricted"])
def test_a_level_that_refuses_the_builder_is_named(building, level):
    building.api.patch("Namespace", BUILDS, {"metadata": {"labels": {LEVEL: level}}})

    one = the("builds")

    assert (one.state, level in one.message) == ("missing", True)
    assert "privileged" in one.todo


def test_a_level_that_admits_the_builder_is_well(building):
    building.api.patch("Namespace", BUILDS, {"metadata": {"labels": {LEVEL: "privileged"}}})

    assert the("builds").state == "ok"


@pytest.mark.parametrize("name", SECRETS)
def test_a_secret_that_was_not_copied_is_named(building, name):
    building.api.delete("Secret", name, BUILDS)

    one = the(f"Secret {name} of builds")

    assert one.state == "missing"
    assert f"no Secret {name} in {BUILDS}" in one.message
    assert "copy it" in one.todo


def test_a_right_that_lacks_in_their_namespace_alone_is_named(building, monkeypatch):
    monkeypatch.setattr(
        right_checks,
        "account_may",
        lambda cluster, *right: cluster.namespace != BUILDS and account_may(cluster, *right),
    )

    (one,) = [each for each in findings() if each.state != "ok"]

    assert (one.name, one.state) == ("rights of orrery-run in builds", "missing")
    for right in ("create, get, delete jobs", "list pods", "get pods/log", "list events"):
        assert right in one.message
    assert f"in {BUILDS}" in one.message
    assert "components/builder/accounts.yaml" in one.todo


def test_who_may_not_ask_for_run_pods_is_told_what_to_run_where_images_are_built(building):
    building.api.act_as(f"system:serviceaccount:{building.namespace}:orrery-gateway")
    building.api.deny("create", "localsubjectaccessreviews")
    building.api.deny("create", "subjectaccessreviews")

    one = the("rights of orrery-run in builds")

    account = f"system:serviceaccount:{building.namespace}:orrery-run"
    assert one.state == "skipped"
    assert one.commands == (f"kubectl auth can-i --list --namespace {BUILDS} --as {account}",)
