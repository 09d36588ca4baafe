"""Who is let out of the namespace, and how an overlay lets out to more."""

import pytest

from tests.deploy import manifests
from tests.deploy.manifests import KUBERNETES, of_kind

DNS = {("UDP", 53), ("TCP", 53)}
API_SERVER = {443, 6443, 8443, 16443}


def egress(name: str, things: tuple[dict, ...]) -> list[dict]:
    return manifests.the(things, "NetworkPolicy", name)["spec"]["egress"]


def ports(rules: list[dict]) -> set[tuple[str, int]]:
    return {(port["protocol"], port["port"]) for rule in rules for port in rule.get("ports", ())}


@pytest.fixture(scope="module")
def base() -> tuple[dict, ...]:
    return manifests.rendered(KUBERNETES / "base")


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
