"""The doctor tells an operator that runs from one whose kinds alone are served."""

import pytest

from deploy.doctor.operators.known import GATEWAYS, KEDA, KUBERAY, KUEUE, PROMETHEUS_ENTERS
from resources.settings import CHECKOUT
from tests.cluster.doctor.examined import ENTERS, OPERATORS, findings, named, operator, the, unwell
from tests.cluster.kube import SLEEP, ray_job
from tests.waiting import until

pytest_plugins = ("tests.cluster.doctor.examined",)

DEPLOYED = ("KubeRay", "Kueue", "KEDA")
GROUP = "apiregistration.k8s.io/v1"


def take_away(cluster, name):
    namespace, deployment, _ = OPERATORS[name]
    cluster.api.delete("Deployment", deployment, namespace)


def api_service(cluster, name, is_available):
    """An API of another server, which is there or not."""
    version, _, group = name.partition(".")
    spec = {"group": group, "version": version, "groupPriorityMinimum": 100, "versionPriority": 100}
    cluster.api.create({**named("APIService", name, "", GROUP), "spec": spec})
    status = "True" if is_available else "False"
    said = {"type": "Available", "status": status, "reason": "Tested", "message": "no endpoints"}
    cluster.api.set_status("APIService", name, {"conditions": [said]})


@pytest.mark.parametrize("name", DEPLOYED)
def test_an_operator_that_is_nowhere_is_missing_although_its_kinds_are_served(whole, name):
    take_away(whole, name)

    one = the(name)

    assert one.state == "missing"
    assert f"no Deployment of {name} runs in any namespace" in one.message
    assert "install" in one.todo


def test_an_operator_that_works_and_cannot_be_seen_is_a_warning(whole):
    whole.api.create(ray_job("trains", SLEEP), whole.namespace)
    until(lambda: whole.api.get("RayJob", "trains").get("status"), 20)
    take_away(whole, "KubeRay")

    one = the("KubeRay")

    assert one.state == "warning"
    assert "it has given RayJob trains a status" in one.message
    assert "unless the cluster's provider runs it" in one.todo


@pytest.mark.parametrize("name", DEPLOYED)
def test_an_operator_of_another_name_is_found_by_its_labels(whole, name):
    take_away(whole, name)
    namespace, _, labels = OPERATORS[name]
    whole.api.create(operator("renamed", namespace, labels))

    until(lambda: the(name).state == "ok", 20)

    assert f"Deployment renamed in {namespace}" in the(name).message


@pytest.mark.parametrize("name", DEPLOYED)
def test_an_operator_with_other_labels_is_found_by_its_name(whole, name):
    take_away(whole, name)
    whole.api.create(named("Namespace", "elsewhere", ""))
    whole.api.create(operator(OPERATORS[name][1], "elsewhere", "app=mine"))

    until(lambda: the(name).state == "ok", 20)

    assert "in elsewhere" in the(name).message


def test_an_operator_whose_pods_do_not_start_is_missing_with_the_reason(whole):
    take_away(whole, "KubeRay")
    namespace, name, labels = OPERATORS["KubeRay"]
    until(lambda: not whole.api.list("Pod", namespace), 20)
    whole.api.create(operator(name, namespace, labels, image="nowhere/operator:1"))

    until(lambda: "ImagePull" in the("KubeRay").message, 20)

    one = the("KubeRay")
    assert one.state == "missing"
    assert "has 0 of 1 replicas ready" in one.message
    assert f"kubectl -n {namespace} describe deployment {name}" in one.commands


def test_an_operator_that_is_scaled_to_nothing_is_missing_with_the_command_that_starts_it(whole):
    namespace, name, _ = OPERATORS["Kueue"]
    whole.api.patch("Deployment", name, {"spec": {"replicas": 0}}, namespace)
    until(lambda: the("Kueue").state == "missing", 20)

    assert the("Kueue").commands == (
        f"kubectl -n {namespace} scale deployment {name} --replicas=1",
    )


def test_only_the_operators_that_the_settings_need_are_looked_for(whole, monkeypatch):
    for variable in ("QUEUE", "GATEWAY", "AUTOSCALER"):
        monkeypatch.delenv(f"ORRERY_CLUSTER_{variable}")

    names = {each.name for each in findings()}

    assert "KubeRay" in names
    assert not {"Kueue", "KEDA", "Gateway controller"} & names


def test_a_class_that_no_implementation_accepts_is_missing_with_the_reason(whole):
    whole.api.delete("GatewayClass", "eg")
    of_others = {"controllerName": "elsewhere.test/controller"}
    version = "gateway.networking.k8s.io/v1"
    whole.api.create({**named("GatewayClass", "eg", "", version), "spec": of_others})

    one = the("Gateway controller")

    assert one.state == "missing"
    assert "GatewayClass eg is not Accepted: its controller has said nothing" in one.message
    assert "elsewhere.test/controller" in one.todo
    assert "kubectl describe gatewayclass eg" in one.commands


def test_a_class_that_is_not_there_is_missing(whole):
    whole.api.delete("GatewayClass", "eg")

    one = the("Gateway controller")

    assert one.state == "missing"
    assert "there is no GatewayClass eg, which the Gateway public names" in one.message


@pytest.fixture
def unseen(whole):
    """A cluster in which Deployments and classes may not be listed."""
    whole.api.deny("list", "deployments")
    whole.api.deny("get", "gatewayclasses")
    return whole


def test_what_an_operator_has_done_shows_it_where_deployments_may_not_be_listed(unseen):
    unseen.api.create(ray_job("trains", SLEEP), unseen.namespace)
    api_service(unseen, "v1beta1.external.metrics.k8s.io", is_available=True)
    until(lambda: unseen.api.get("RayJob", "trains").get("status"), 20)

    said = {each.name: each for each in findings()}

    for name in OPERATORS:
        assert said[name].state == "ok", said[name]
    assert "RayJob trains" in said["KubeRay"].message
    assert "LocalQueue training" in said["Kueue"].message
    assert "Gateway public" in said["Gateway controller"].message


def test_without_a_sign_the_command_that_looks_is_told(unseen):
    one, other = the("KubeRay"), the("KEDA")

    assert (one.state, other.state) == ("skipped", "skipped")
    assert one.commands == (
        "kubectl get deployments --all-namespaces --field-selector metadata.name=kuberay-operator",
    )


def test_a_server_of_external_metrics_that_does_not_answer_is_missing(unseen):
    api_service(unseen, "v1beta1.external.metrics.k8s.io", is_available=False)

    assert the("KEDA").state == "missing"


def test_ray_jobs_without_a_status_are_a_warning(unseen, monkeypatch):
    monkeypatch.setattr(unseen.kuberay, "reconcile", lambda key: None)
    unseen.api.create(ray_job("waits", SLEEP), unseen.namespace)

    one = the("KubeRay")

    assert one.state == "warning"
    assert "no RayJob has a status (waits)" in one.message


@pytest.mark.parametrize(
    ("name", "entrant"), [("KubeRay", KUBERAY), ("Gateway controller", GATEWAYS)]
)
def test_a_namespace_without_the_label_that_policies_ask_for_is_named(whole, name, entrant):
    namespace = OPERATORS[name][0]
    whole.api.patch("Namespace", namespace, {"metadata": {"labels": {entrant.enters: None}}})

    finding = f"entry of {name} from {namespace}"

    assert unwell() == {finding: "missing"}
    assert the(finding).commands == (f"kubectl label namespace {namespace} {entrant.enters}=true",)


def test_the_pods_that_carry_a_gateways_traffic_come_in_not_its_controller(whole):
    whole.api.create(named("Namespace", "edge", ""))
    labels = (
        "gateway.envoyproxy.io/owning-gateway-name=public,"
        f"gateway.envoyproxy.io/owning-gateway-namespace={whole.namespace}"
    )
    whole.api.create(operator("envoy", "edge", labels))

    assert unwell() == {"entry of Gateway controller from edge": "missing"}


def test_without_policies_that_ask_for_labels_nobody_needs_one(whole):
    for name, entrant in (("KubeRay", KUBERAY), ("Gateway controller", GATEWAYS)):
        change = {"metadata": {"labels": {entrant.enters: None}}}
        whole.api.patch("Namespace", OPERATORS[name][0], change)
    whole.api.delete("NetworkPolicy", "services")

    assert unwell() == {}
    assert not [each.name for each in findings() if each.name.startswith("entry of")]


def test_the_namespace_of_prometheus_needs_the_label_as_well(whole, monkeypatch):
    whole.api.create(named("Namespace", "monitoring", ""))
    url = "http://prometheus-operated.monitoring.svc:9090"
    monkeypatch.setenv("ORRERY_CLUSTER_PROMETHEUS_URL", url)

    before = the("entry of Prometheus from monitoring")
    whole.api.patch("Namespace", "monitoring", {"metadata": {"labels": ENTERS}})

    assert before.state == "missing"
    assert before.commands == (f"kubectl label namespace monitoring {PROMETHEUS_ENTERS}=true",)
    assert the("entry of Prometheus from monitoring").state == "ok"


def test_every_label_of_an_operator_is_one_that_the_shipped_policies_ask_for():
    policies = (CHECKOUT / "deploy" / "kubernetes" / "base" / "network.yaml").read_text()

    for each in (KUBERAY, KUEUE, GATEWAYS, KEDA):
        assert not each.enters or f'{each.enters}: "true"' in policies
    assert f'{PROMETHEUS_ENTERS}: "true"' in policies


@pytest.fixture
def measured(whole, monkeypatch):
    """A cluster whose services are scaled by processor time."""
    monkeypatch.setenv("ORRERY_CLUSTER_AUTOSCALER", "hpa")
    return whole


@pytest.mark.parametrize("may_read", [True, False])
def test_metrics_that_are_served_are_well_and_others_a_warning(measured, may_read):
    if not may_read:
        measured.api.deny("get", "apiservices")
    absent = the("metrics-server")
    api_service(measured, "v1beta1.metrics.k8s.io", is_available=False)
    silent = the("metrics-server")
    ready = {"conditions": [{"type": "Available", "status": "True", "reason": "Passed"}]}
    measured.api.set_status("APIService", "v1beta1.metrics.k8s.io", ready)

    assert (absent.state, silent.state) == ("warning", "warning")
    assert "does not serve v1beta1.metrics.k8s.io" in absent.message
    assert "is not Available" in silent.message
    assert "kubectl describe apiservice v1beta1.metrics.k8s.io" in silent.commands
    assert the("metrics-server").state == "ok"


def test_where_keda_scales_nobody_asks_for_metrics_of_processors(whole):
    assert "metrics-server" not in {each.name for each in findings()}
