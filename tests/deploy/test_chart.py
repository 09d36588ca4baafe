"""The Helm chart gives a cluster what Kustomize gives it, and refuses values it does not know."""

import copy
import re
import shutil

import pytest
import yaml

from deploy.chart import chart
from deploy.chart.chart import CHART
from deploy.chart.compositions import Objects, composed, keyed
from deploy.chart.overlay_values import check_is_said
from deploy.chart.templates import section
from deploy.chart.tree import NotCharted
from resources.settings import CHECKOUT
from tests.cluster.fixtures import TestCluster
from tests.deploy import manifests
from tests.deploy.charts import helm, templated, tried
from tests.deploy.manifests import COMPONENTS, OVERLAYS
from tests.deploy.test_kubernetes import SECRETS
from tests.waiting import until

WHOLE = {"namespace": {"create": True, "defaultAccounts": True}}
BY_HAND = {".helmignore", "Chart.yaml", "templates/NOTES.txt", "templates/_helpers.tpl"}
EVERYTHING = {
    **{section(name): {"enabled": True} for name in COMPONENTS},
    **WHOLE,
    "publicUrl": "https://orrery.example.com",
}
OVERLAY = """
images:
  - {name: orrery/control, newTag: 0.1.0}
  - {name: orrery/training, newTag: 0.1.0}
  - {name: orrery/serving, newTag: 0.1.0}
configMapGenerator:
  - name: orrery-settings
    namespace: orrery
    behavior: merge
    literals: ["ORRERY_PUBLIC_URL=https://orrery.example.com"]
"""


def settings(things: Objects, namespace: str = "orrery") -> dict[str, str]:
    return things["ConfigMap", namespace, "orrery-settings"]["data"]


def test_the_chart_is_what_the_manifests_make_of_it():
    if shutil.which("kubectl") is None:
        pytest.skip("kubectl is not on PATH, so nothing can be rendered")
    written = chart.files()
    there = {
        str(file.relative_to(CHART)): file.read_text()
        for file in CHART.rglob("*")
        if file.is_file()
    }

    stale = {name for name, text in written.items() if there.get(name) != text}
    assert stale == set(), "run `make chart`"
    assert there.keys() - written.keys() == BY_HAND


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_chart_renders_the_objects_of_each_overlay(overlay, tmp_path):
    expected = keyed(manifests.overlay(overlay))

    things = templated(tmp_path, f"--values={CHART}/values-{overlay}.yaml", values=WHOLE)

    assert things == expected


@pytest.mark.parametrize("component", COMPONENTS)
def test_the_chart_renders_the_objects_of_each_component_alone(component, tmp_path):
    expected = keyed(manifests.composed(tmp_path, component, patches=OVERLAY))
    values = {section(component): {"enabled": True}, "publicUrl": "https://orrery.example.com"}

    assert templated(tmp_path, values={**values, **WHOLE}) == expected


def test_the_chart_renders_the_objects_of_all_components_together(tmp_path):
    names = sorted(COMPONENTS, key=lambda name: name == "pull-secrets")
    expected = keyed(manifests.composed(tmp_path, *names, patches=OVERLAY))

    assert templated(tmp_path, values=EVERYTHING) == expected


def test_what_an_overlay_changes_and_no_value_says_is_named():
    base = composed(["queues"])
    changed = copy.deepcopy(base)
    changed["ClusterQueue", "", "orrery"]["spec"]["queueingStrategy"] = "StrictFIFO"

    said = copy.deepcopy(base)
    said["Deployment", "orrery", "daemon"]["spec"]["template"]["spec"]["nodeSelector"] = {"a": "b"}
    check_is_said("mine", said, base, chart.VALUES)
    with pytest.raises(NotCharted, match=r"overlay mine changes ClusterQueue orrery.*declared\.py"):
        check_is_said("mine", changed, base, chart.VALUES)
    with pytest.raises(NotCharted, match=r"overlay mine adds or removes .*'LocalQueue'"):
        check_is_said(
            "mine", {k: v for k, v in base.items() if k[0] != "LocalQueue"}, base, chart.VALUES
        )


def test_helm_installs_into_a_namespace_that_is_there(tmp_path):
    things = templated(tmp_path, values={"builder": {"enabled": True}})

    names = {key[1:] for key in things if key[0] in ("Namespace", "ServiceAccount")}
    assert ("", "orrery") not in names
    assert ("", "orrery-builds") in names
    assert {name for _, name in names} & {"default"} == set()


def test_a_release_in_another_namespace_stays_there(tmp_path):
    things = templated(tmp_path, values=EVERYTHING, namespace="elsewhere")

    namespaces = {key[1] for key in things} | {key[2] for key in things if key[0] == "Namespace"}
    assert namespaces == {"", "elsewhere", "elsewhere-builds"}
    selected = re.findall(r"'kubernetes.io/metadata.name': '([^']*)'", str(things))
    assert {*selected} == {"kube-system", "elsewhere", "elsewhere-builds"}
    subjects = re.findall(
        r"'kind': 'ServiceAccount', 'name': '[^']*', 'namespace': '([^']*)'", str(things)
    )
    assert {*subjects} == {"elsewhere"}
    data = settings(things, "elsewhere")
    assert data["ORRERY_CLUSTER_NAMESPACE"] == "elsewhere"
    assert data["ORRERY_CLUSTER_BUILD_NAMESPACE"] == "elsewhere-builds"
    assert data["ORRERY_CLUSTER_GATEWAY"] == "elsewhere/orrery"
    assert data["AWS_ENDPOINT_URL"] == "http://minio.elsewhere.svc:9000"


def test_two_releases_share_no_object_of_the_cluster_but_the_priorities_of_jobs(tmp_path):
    first = templated(tmp_path, values=EVERYTHING)
    second = {
        "clusterWide": {"name": "second"},
        "queues": {"enabled": True, "priorityClasses": False},
    }
    others = templated(tmp_path, values={**EVERYTHING, **second}, namespace="second")

    assert {key for key in first if not key[1]} & {key for key in others if not key[1]} == set()
    assert others["LocalQueue", "second", "orrery"]["spec"] == {"clusterQueue": "second"}
    flavors = {key[2] for key in others if key[0] == "ResourceFlavor"}
    assert flavors == {"second-general", "second-gpu"}
    queue = others["ClusterQueue", "", "second"]["spec"]["resourceGroups"]
    assert {f["name"] for group in queue for f in group["flavors"]} == flavors
    pod = others["Deployment", "second", "gateway"]["spec"]["template"]["spec"]
    assert ("PriorityClass", "", pod["priorityClassName"]) in others


def test_an_image_is_of_the_charts_version_unless_a_tag_or_digest_is_given(tmp_path):
    digest = "sha256:" + "0" * 64
    images = {
        "control": {"repository": "registry.example/orrery/control", "digest": digest},
        "serving": {"tag": "0.2.0"},
    }

    things = templated(tmp_path, values={"images": images})

    (pod,) = things["Deployment", "orrery", "daemon"]["spec"]["template"]["spec"]["containers"]
    assert pod["image"] == f"registry.example/orrery/control@{digest}"
    assert settings(things)["ORRERY_CLUSTER_CONTROL_IMAGE"] == pod["image"]
    assert settings(things)["ORRERY_CLUSTER_SERVING_IMAGE"] == "orrery/serving:0.2.0"
    version = yaml.safe_load((CHART / "Chart.yaml").read_text())["appVersion"]
    assert settings(things)["ORRERY_CLUSTER_TRAINING_IMAGE"] == f"orrery/training:{version}"


def test_the_chart_has_the_version_of_the_product():
    told = yaml.safe_load((CHART / "Chart.yaml").read_text())

    project = re.search(
        r'^version = "(.*)"$', (CHECKOUT / "pyproject.toml").read_text(), re.MULTILINE
    )
    assert project
    assert {told["version"], told["appVersion"]} == {project[1]}


def test_values_reach_the_objects_that_they_are_for(tmp_path):
    port = [{"ports": [{"port": 9000, "protocol": "TCP"}]}]
    values = {
        "settings": {"ORRERY_OIDC_ISSUER": "https://id.example.com", "PGSSLROOTCERT": "/ca.crt"},
        "accounts": {"annotations": {"cloud.example/role": "orrery"}},
        "nodeSelector": {"pool": "control"},
        "tolerations": [{"key": "pool", "operator": "Exists"}],
        "network": {"egress": port},
        "postgresql": {"enabled": True, "storage": "40Gi", "storageClass": "fast"},
        "queues": {"enabled": True, "quotas": {"cpu": 1000000}},
        "ingress": {"enabled": True, "className": "nginx"},
        "publicUrl": "https://ai.example.com:8443",
    }

    things = templated(tmp_path, values=values)

    for thing in things.values():
        manifests.check(thing)
    assert settings(things)["ORRERY_OIDC_ISSUER"] == "https://id.example.com"
    assert settings(things)["PGSSLROOTCERT"] == "/ca.crt"
    account = things["ServiceAccount", "orrery", "orrery-run"]["metadata"]
    assert account["annotations"] == {"cloud.example/role": "orrery"}
    for _, template in manifests.pods(tuple(things.values())):
        assert template["spec"]["nodeSelector"] == {"pool": "control"}
        assert template["spec"]["tolerations"] == values["tolerations"]
    assert things["NetworkPolicy", "orrery", "outward"]["spec"]["egress"][-1:] == port
    (claim,) = things["StatefulSet", "orrery", "postgresql"]["spec"]["volumeClaimTemplates"]
    assert claim["spec"]["resources"]["requests"]["storage"] == "40Gi"
    assert claim["spec"]["storageClassName"] == "fast"
    assert "1000000}" in str(things["ClusterQueue", "", "orrery"])
    ingress = things["Ingress", "orrery", "gateway"]["spec"]
    assert ingress["ingressClassName"] == "nginx"
    assert ingress["rules"][0]["host"] == ingress["tls"][0]["hosts"][0] == "ai.example.com"


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"publicURL": "https://orrery.example.com"}, "publicURL"),
        ({"postgresql": {"enable": True}}, "enable"),
        ({"keda": {"enabled": "yes"}}, "enabled"),
        ({"settings": {"ORRERY_RUNS_AT_ONCE": 64}}, "ORRERY_RUNS_AT_ONCE"),
        ({"images": {"control": {"digest": "latest"}}}, "digest"),
        ({"queues": {"quotas": {"memory": "lots"}}}, "memory"),
    ],
)
def test_a_value_that_is_unknown_or_of_another_type_is_refused(values, told, tmp_path):
    ended = tried(tmp_path, values=values)

    assert ended.returncode != 0
    assert told in ended.stderr


def test_a_way_in_needs_the_public_url(tmp_path):
    ended = tried(tmp_path, values={"gatewayApi": {"enabled": True}})

    assert ended.returncode != 0
    assert "set publicUrl" in ended.stderr


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_helm_finds_nothing_wrong_with_the_chart(overlay):
    ended = helm("lint", "--strict", str(CHART), f"--values={CHART}/values-{overlay}.yaml")

    assert ended.returncode == 0, ended.stdout


def test_the_notes_tell_the_secrets_the_labels_and_the_way_to_sign_in():
    notes = (CHART / "templates" / "NOTES.txt").read_text()
    values = (CHART / "values.yaml").read_text()

    assert {secret for secret in SECRETS if secret not in notes + values} == set()
    assert "orrery/runs-ray=true" in notes and "orrery/enters=true" in notes
    assert "orrery sign-in-link" in notes
    assert "orrery doctor" in notes


def installed(cluster: TestCluster, *arguments: str):
    """How `helm install` ended on the double."""
    if not helm("version", "--short").stdout.startswith("v3"):
        pytest.skip("the double takes JSON, and this helm is not a version 3, which sends it")
    where = (f"--namespace={cluster.namespace}", f"--kubeconfig={cluster.kubeconfig}")
    options = ("--disable-openapi-validation", f"--values={CHART}/values-local.yaml")
    return helm("install", "orrery", str(CHART), *where, *options, *arguments)


def test_helm_installs_the_chart_and_tells_what_to_do_next():
    with TestCluster(lambda image: None) as cluster:
        ended = installed(cluster)

        assert ended.returncode == 0, ended.stderr
        assert cluster.api.get("Deployment", "gateway")
        assert cluster.api.get("Role", "orrery-run")
    assert "kubectl label namespace test pod-security" in ended.stdout
    assert "kubectl -n test exec deploy/gateway -- orrery sign-in-link" in ended.stdout
    assert "orrery-instance, orrery-postgresql\n" in ended.stdout


def test_helm_does_not_take_the_account_that_kubernetes_has_made():
    with TestCluster(lambda image: None) as cluster:
        until(lambda: cluster.api.find("ServiceAccount", "default"))

        ended = installed(cluster, "--set=namespace.defaultAccounts=true")

    assert ended.returncode != 0
    assert "cannot be imported" in ended.stderr
