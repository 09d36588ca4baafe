"""What `make manifests` prints: one stream of YAML, valid, with a service and a job in it."""

import functools
import subprocess
import sys

import pytest
import yaml

from api.cli import manifests as printed
from projects.loading import CHECKOUT
from tests.deploy import manifests
from tests.deploy.manifests import OVERLAYS, of_kind

every_overlay = pytest.mark.parametrize("overlay", OVERLAYS)


@functools.cache
def things(overlay: str = "prod", project: str = "digits") -> tuple[dict, ...]:
    """Objects of the stream."""
    manifests.overlay(overlay)
    return tuple(yaml.safe_load_all(printed.stream(overlay, project)))


def objects_of(overlay: str = "prod") -> list[dict]:
    """The objects that are not the overlay's."""
    return list(things(overlay)[len(manifests.overlay(overlay)) :])


@every_overlay
def test_every_object_is_valid(overlay):
    for thing in things(overlay):
        manifests.check(thing)


@every_overlay
def test_the_stream_begins_with_the_overlay(overlay):
    assert things(overlay)[: len(manifests.overlay(overlay))] == manifests.overlay(overlay)


def test_a_service_and_a_job_are_in_it():
    kinds = {thing["kind"] for thing in objects_of()}

    assert kinds == {
        "Deployment",
        "HTTPRoute",
        "PodDisruptionBudget",
        "RayJob",
        "ScaledObject",
        "Service",
    }


def test_no_object_is_there_twice():
    names = [(t["kind"], t["metadata"].get("namespace"), t["metadata"]["name"]) for t in things()]

    assert len(names) == len(set(names))


def test_the_examples_are_as_the_overlay_sets_them(monkeypatch):
    monkeypatch.setenv("ORRERY_CLUSTER_REGISTRY", "of-this-machine")
    monkeypatch.setenv("ORRERY_CLUSTER_TRAINING_IMAGE", "of-this-machine")
    settings = manifests.the(things(), "ConfigMap", "orrery-settings")["data"]
    (job,) = of_kind(tuple(objects_of()), "RayJob")
    head = job["spec"]["rayClusterSpec"]["headGroupSpec"]["template"]["spec"]["containers"][0]

    assert "of-this-machine" not in printed.stream("prod", "digits")
    assert head["image"] == settings["ORRERY_CLUSTER_TRAINING_IMAGE"]
    assert job["spec"]["entrypoint"].split()[3].startswith(settings["ORRERY_OBJECTS"])
    assert (
        job["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == settings["ORRERY_CLUSTER_QUEUE"]
    )


def test_training_code_and_services_are_given_no_database():
    (job,) = of_kind(tuple(objects_of()), "RayJob")
    (deployment,) = of_kind(tuple(objects_of()), "Deployment")
    head = job["spec"]["rayClusterSpec"]["headGroupSpec"]["template"]

    assert secrets_of(head) == {"orrery-engines"}
    assert secrets_of(deployment["spec"]["template"]) == {"orrery-bucket"}


def secrets_of(template: dict) -> set[str]:
    """Names of the Secrets that a pod's environment comes from."""
    return {
        source["secretRef"]["name"]
        for container in manifests.containers(template)
        for source in container["envFrom"]
        if "secretRef" in source
    }


def test_services_reach_no_database():
    policies = of_kind(manifests.overlay("dev"), "NetworkPolicy")
    to_databases = [p for p in policies if "5432" in str(p) or "port': 'postgresql" in str(p)]

    assert {p["metadata"]["name"] for p in to_databases} == {"databases", "postgresql"}
    for policy in to_databases:
        spec = policy["spec"]
        pods = spec["ingress"][0]["from"][0] if "ingress" in spec else spec
        (rule,) = pods["podSelector"]["matchExpressions"]
        assert (rule["operator"], rule["values"]) == ("NotIn", ["service"])


def orrery(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-c", "from api.cli.main import main; main()", "manifests", *arguments],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_the_command_prints_nothing_but_the_stream():
    expected = things("dev", "cartpole")
    done = orrery("--overlay", "dev", "--project", "cartpole")

    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("---\n")
    assert tuple(yaml.safe_load_all(done.stdout)) == expected


def test_without_kubectl_it_is_asked_for(monkeypatch):
    monkeypatch.setenv("PATH", "")

    done = orrery()

    assert (done.returncode, done.stdout) == (1, "")
    assert "install kubectl" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_overlay_or_a_project_that_is_not_there_is_named():
    with pytest.raises(printed.NotRendered, match=r"'production'.*dev, local, prod, staging"):
        printed.stream("production", "digits")
    with pytest.raises(printed.NotRendered, match="did you mean 'digits'"):
        printed.stream("prod", "digit")
