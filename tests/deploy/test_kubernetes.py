"""What `kubectl apply -k` would give a cluster: whole, valid, confined, and free of secrets."""

import re

import pytest
import yaml

from deploy.doctor.cluster.rights import LOOKS, USES, Right, rights
from resources.kubernetes_api.pod_template import labels
from resources.kubernetes_api.settings import ClusterSettings
from resources.settings import CHECKOUT
from tests.deploy import manifests, variables
from tests.deploy.manifests import COMPONENTS, OVERLAYS, containers, of_kind, overlay

SECRETS = {
    "orrery-bucket",
    "orrery-control",
    "orrery-engines",
    "orrery-instance",
    "orrery-postgresql",
    "orrery-secrets",
    "orrery-tls",
}
TELLS_A_SECRET = re.compile(r"(PASSWORD|TOKEN|ACCESS_KEY|ACCESS_KEY_ID|CLIENT_SECRET|ASK_KEY)$")
HAS_CREDENTIALS = re.compile(r"://[^/\s$:@]+:[^/\s$@]+@")
CLUSTER_WIDE = {
    "ClusterQueue",
    "Namespace",
    "PriorityClass",
    "ResourceFlavor",
    "WorkloadPriorityClass",
}
SETTINGS = ClusterSettings(
    namespace="orrery", queue="orrery", registry="registry.example", gateway="orrery/orrery"
)
RIGHTS = [
    (account, right)
    for table in (USES, LOOKS)
    for account, uses in table.items()
    for right in rights(uses, SETTINGS)
]
every_overlay = pytest.mark.parametrize("name", OVERLAYS)


def variables_of(name: str) -> dict[str, str | None]:
    """Every variable that the overlay sets, with its value where it is written down."""
    things = overlay(name)
    result = {}
    for settings in of_kind(things, "ConfigMap"):
        result |= {k: v for k, v in settings["data"].items() if k.isupper()}
    for _, template in manifests.pods(things):
        for container in containers(template):
            result |= {each["name"]: each.get("value") for each in container.get("env", [])}
    return result


def test_there_is_an_overlay_for_each_stage():
    assert OVERLAYS == ["dev", "local", "prod", "staging"]


@every_overlay
def test_every_object_of_an_overlay_is_valid(name):
    things = overlay(name)

    for thing in things:
        manifests.check(thing)

    assert {"Deployment", "Service", "NetworkPolicy", "Role"} <= {t["kind"] for t in things}


def test_kinds_of_other_makers_are_judged_by_their_own_schemas():
    if not manifests.has_crd_schemas():
        pytest.skip("ORRERY_CRD_SCHEMAS names no folder, so CRDs are not judged")
    queue = manifests.the(overlay("dev"), "LocalQueue", "orrery")

    with pytest.raises(Exception, match="clusterQueu"):
        manifests.check(queue | {"spec": {"clusterQueu": "orrery"}})


@pytest.mark.parametrize(
    "file", manifests.resource_files(), ids=lambda f: f"{f.parent.name}/{f.name}"
)
def test_every_file_of_objects_is_valid_as_it_is_written(file):
    things = list(yaml.safe_load_all(file.read_text()))

    for thing in things:
        manifests.check(thing)

    assert things


@pytest.mark.parametrize("component", COMPONENTS)
def test_every_component_fits_the_base(component, tmp_path):
    for thing in manifests.composed(tmp_path, component):
        manifests.check(thing)


@every_overlay
def test_every_object_is_in_the_namespace_that_the_settings_name(name):
    things = overlay(name)

    namespaces = {
        thing["metadata"].get("namespace") for thing in things if thing["kind"] not in CLUSTER_WIDE
    }

    assert namespaces == {variables_of(name)["ORRERY_CLUSTER_NAMESPACE"]}


@every_overlay
def test_the_namespace_refuses_pods_that_are_not_confined(name):
    namespace = manifests.the(overlay(name), "Namespace", "orrery")

    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"


@every_overlay
def test_every_container_is_confined(name):
    for thing, template in manifests.pods(overlay(name)):
        pod = template["spec"]["securityContext"]
        assert pod["runAsNonRoot"] and pod["runAsUser"] > 0, thing["metadata"]["name"]
        assert pod["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in containers(template):
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }, container["name"]


@every_overlay
def test_every_container_asks_for_what_it_needs_and_is_bounded(name):
    for _, template in manifests.pods(overlay(name)):
        for container in containers(template):
            for amount in ("requests", "limits"):
                assert container["resources"][amount].keys() == {"cpu", "memory"}


@every_overlay
def test_what_runs_long_is_probed(name):
    for thing, template in manifests.pods(overlay(name)):
        if thing["kind"] in ("Deployment", "StatefulSet"):
            for container in containers(template):
                assert "livenessProbe" in container, container["name"]
                assert "readinessProbe" in container or "ports" not in container


@every_overlay
def test_every_image_has_a_version(name):
    images = {c["image"] for _, t in manifests.pods(overlay(name)) for c in containers(t)}
    images |= {v for k, v in variables_of(name).items() if k.endswith("_IMAGE") and v}

    assert len([image for image in images if image.startswith("orrery/")]) == 3
    assert [i for i in images if not re.search(r"(:(?!latest$)[^/]+|@sha256:.+)$", i)] == []


@every_overlay
def test_no_secret_is_written_down(name):
    assert of_kind(overlay(name), "Secret") == []
    for variable, value in variables_of(name).items():
        assert not (value and TELLS_A_SECRET.search(variable)), variable
        assert not HAS_CREDENTIALS.search(value or ""), variable


@every_overlay
def test_every_variable_is_one_that_settings_read(name):
    assert variables.ours(variables_of(name)) <= variables.known()


@every_overlay
def test_a_token_is_held_by_those_who_talk_to_the_cluster_alone(name):
    holders = {
        thing["metadata"]["name"]
        for thing, template in manifests.pods(overlay(name))
        if template["spec"]["automountServiceAccountToken"]
    }

    assert holders == {"gateway", "daemon", "collection"}


@every_overlay
def test_no_service_of_the_namespace_becomes_a_variable(name):
    links = {
        thing["metadata"]["name"]: template["spec"]["enableServiceLinks"]
        for thing, template in manifests.pods(overlay(name))
    }

    assert links
    assert not any(links.values()), links


@every_overlay
def test_no_role_reaches_secrets_or_everything(name):
    rules = [rule for role in of_kind(overlay(name), "Role") for rule in role["rules"]]

    assert of_kind(overlay(name), "ClusterRole") == []
    for rule in rules:
        assert "secrets" not in rule["resources"]
        assert "*" not in [*rule["apiGroups"], *rule["resources"], *rule["verbs"]]


@every_overlay
def test_what_an_object_names_is_there(name):
    things = overlay(name)
    there = {(thing["kind"], thing["metadata"]["name"]) for thing in things}
    there |= {("Secret", secret) for secret in SECRETS}

    body = {*manifests.named_by_pods(things), *manifests.named_by_others(things)}

    assert {"Role", "ServiceAccount", "Secret", "ConfigMap"} <= {kind for kind, _ in body}
    assert body - there == set()


@every_overlay
def test_every_selector_selects_pods(name):
    things = overlay(name)
    offered = [template["metadata"]["labels"] for _, template in manifests.pods(things)]
    selectors = [
        *(service["spec"]["selector"] for service in of_kind(things, "Service")),
        *(b["spec"]["selector"]["matchLabels"] for b in of_kind(things, "PodDisruptionBudget")),
    ]

    for selector in selectors:
        assert any(selector.items() <= each.items() for each in offered), selector


@every_overlay
def test_nothing_is_let_in_or_out_unless_it_is_named(name):
    denied = manifests.the(overlay(name), "NetworkPolicy", "default-deny")

    assert denied["spec"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}


@pytest.mark.parametrize("component", ["job", "service"])
def test_the_policies_name_pods_by_the_labels_that_adapters_give_them(component):
    policies = of_kind(overlay("prod"), "NetworkPolicy")

    assert {"matchLabels": labels(component)} in [each["spec"]["podSelector"] for each in policies]


def may(account: str, right: Right) -> bool:
    """Whether production's roles let the account do it."""
    things = overlay("prod")
    return any(
        manifests.allows(manifests.the(things, "Role", binding["roleRef"]["name"]), right)
        for binding in of_kind(things, "RoleBinding")
        if account in {subject["name"] for subject in binding["subjects"]}
    )


@pytest.mark.parametrize(
    ("account", "right"), RIGHTS, ids=[f"{account}-{right}" for account, right in RIGHTS]
)
def test_every_account_has_every_right_that_the_doctor_looks_for_and_with(account, right):
    assert may(account, right)


@every_overlay
def test_there_is_never_a_second_daemon(name):
    daemon = manifests.the(overlay(name), "Deployment", "daemon")["spec"]

    assert (daemon["replicas"], daemon["strategy"]) == (1, {"type": "Recreate"})


@pytest.mark.parametrize("name", ["staging", "prod"])
def test_the_gateway_survives_the_loss_of_a_zone(name):
    things = overlay(name)
    spec = manifests.the(things, "Deployment", "gateway")["spec"]
    zones, _ = spec["template"]["spec"]["topologySpreadConstraints"]
    scaler = manifests.the(things, "HorizontalPodAutoscaler", "gateway")["spec"]

    assert zones["topologyKey"] == "topology.kubernetes.io/zone"
    assert (zones["minDomains"], zones["whenUnsatisfiable"]) == (3, "DoNotSchedule")
    assert scaler["minReplicas"] >= 3
    assert "replicas" not in spec
    assert variables_of(name)["ORRERY_CLUSTER_SPREAD_ZONES"] == "true"


@pytest.mark.parametrize("name", ["staging", "prod"])
def test_what_must_not_be_lost_is_kept_outside_the_cluster(name):
    things = overlay(name)

    assert of_kind(things, "StatefulSet") == []
    assert "AWS_ENDPOINT_URL" not in variables_of(name)
    assert manifests.the(things, "CronJob", "backup")


@pytest.mark.parametrize("name", ["dev", "staging", "prod"])
def test_jobs_are_given_to_a_queue_that_is_there(name):
    things = overlay(name)

    queue = manifests.the(things, "LocalQueue", variables_of(name)["ORRERY_CLUSTER_QUEUE"])
    cluster_queue = manifests.the(things, "ClusterQueue", queue["spec"]["clusterQueue"])

    flavors = {f["name"] for g in cluster_queue["spec"]["resourceGroups"] for f in g["flavors"]}
    assert flavors == {f["metadata"]["name"] for f in of_kind(things, "ResourceFlavor")}
    assert cluster_queue["spec"]["preemption"] == {"withinClusterQueue": "LowerPriority"}


def test_the_secrets_that_must_exist_are_told_in_the_documentation():
    text = (CHECKOUT / "docs" / "kubernetes.md").read_text()

    assert {secret for secret in SECRETS if secret not in text} == set()
