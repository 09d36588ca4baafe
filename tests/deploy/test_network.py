"""Who is let out of the namespace, and how an overlay lets out to more."""

import pytest

from tests.deploy import manifests
from tests.deploy.manifests import KUBERNETES, OVERLAYS, containers, of_kind, overlay

DNS = {("UDP", 53), ("TCP", 53)}
API_SERVER = {443, 6443, 8443, 16443}


def egress(name: str, things: tuple[dict, ...]) -> list[dict]:
    return manifests.the(things, "NetworkPolicy", name)["spec"]["egress"]


def ports(rules: list[dict]) -> set[tuple[str, int]]:
    return {(port["protocol"], port["port"]) for rule in rules for port in rule.get("ports", ())}


@pytest.fixture(scope="module")
def base() -> tuple[dict, ...]:
    return manifests.rendered(KUBERNETES / "base")


def ingress(name: str, things: tuple[dict, ...]) -> list[dict]:
    return manifests.the(things, "NetworkPolicy", name)["spec"]["ingress"]


def test_the_port_that_runs_code_is_reached_by_ray_s_operator_alone(base):
    (rule,) = ingress("jobs", base)
    operators = {"namespaceSelector": {"matchLabels": {"orrery/runs-ray": "true"}}}
    assert rule == {"from": [operators], "ports": [{"port": 8265, "protocol": "TCP"}]}


def test_ray_s_operator_reaches_nothing_else(base):
    for policy in of_kind(base, "NetworkPolicy"):
        if policy["metadata"]["name"] != "jobs":
            assert "orrery/runs-ray" not in str(policy["spec"])


@pytest.mark.parametrize("name", OVERLAYS)
def test_the_control_database_is_known_to_the_gateway_the_collection_and_the_backup_alone(name):
    knowing = {
        (owner["metadata"]["name"], container["name"])
        for owner, template in manifests.pods(overlay(name))
        for container in containers(template)
        if {"secretRef": {"name": "orrery-control"}} in container.get("envFrom", ())
    }
    always = {("gateway", "gateway"), ("collection", "collection")}
    assert always <= knowing <= {*always, ("backup", "dump")}


def test_names_are_resolved_by_pods_and_by_the_node(base):
    (rule,) = [rule for rule in egress("outward", base) if ports([rule]) == DNS]

    selectors = [to["namespaceSelector"]["matchLabels"] for to in rule["to"] if "ipBlock" not in to]
    blocks = {to["ipBlock"]["cidr"] for to in rule["to"] if "ipBlock" in to}
    assert selectors == [{"kubernetes.io/metadata.name": "kube-system"}]
    assert blocks == {"169.254.20.10/32", "169.254.169.254/32"}


def test_api_servers_are_reached_on_the_ports_that_they_have(base):
    anywhere = [rule for rule in egress("outward", base) if "to" not in rule]

    assert ports(anywhere) == {("TCP", port) for port in API_SERVER}


def test_the_documented_patch_lets_out_to_more_ports(base, tmp_path):
    patched = manifests.composed(tmp_path, patches=manifests.documented("outward"))

    for name, port in (("outward", 9000), ("databases", 6432)):
        assert egress(name, patched) == [
            *egress(name, base),
            {"ports": [{"port": port, "protocol": "TCP"}]},
        ]
    for policy in of_kind(patched, "NetworkPolicy"):
        manifests.check(policy)
