"""Services run on a cluster, and a version takes over from another, whatever happens meanwhile."""

import json
import shutil
import stat
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import onnx
import pytest
import tritonclient.grpc as triton_grpc
from onnx import TensorProto, helper, numpy_helper

from engine import lease
from engine.artefact import ONNX, SIGNATURE, Signature, TensorSignature, seal
from resources.compute.contract import Driver
from resources.compute.requirements import Requirements
from resources.kubernetes_api.client import Cluster
from resources.kubernetes_api.settings import ClusterSettings
from resources.services.cluster.adapter import ClusterRuntime, Superseded
from resources.services.cluster.directory import ServiceDirectory
from resources.services.cluster.version import BUILT_BENTO, VERSION_LABEL, object_name
from resources.services.local import DeploymentFailed
from resources.settings import CHECKOUT
from resources.storage.object_store import ObjectStore
from resources.storage.request_logs import RequestLogs
from serving.contract import Deployment, PackagingResult, PackagingSpec, RequestLogPlan
from tests import buckets
from tests.cluster.double.controllers.gateway_proxy import GatewayProxy
from tests.cluster.fixtures import ImagePlan, TestCluster, real_cluster
from tests.cluster.real_cluster import (
    IS_REAL,
    STUCK_S,
    Emptied,
    RealCluster,
    RealGateway,
    image,
    needs_faults,
    only_double,
    variables_of_the_bucket,
)
from tests.failing_bento import fail_all_predictions
from tests.waiting import until

ROWS = [[1, 1, 1, 1]]
PACKAGED_FOR = "shop.reader"
LOST = Driver("run", lambda: False)


class Interrupted(BaseException):
    """As Dagster interrupts a step."""


@pytest.fixture(scope="module")
def bento(tmp_path_factory) -> PackagingResult:
    """A small model, packaged as the process that does it."""
    base = tmp_path_factory.mktemp("bentos")
    artefact, workdir = base / "artefact", base / "work"
    spec = PackagingSpec(
        job="p1",
        workdir=workdir,
        timeout_s=60,
        service=PACKAGED_FOR,
        model="shop.reader",
        model_version=1,
        artefact=artefact,
        artefact_digest=linear(artefact),
        bento_home=base / "home",
        max_rows=64,
    )
    path = spec.write()
    lease.renew(workdir)
    subprocess.run([sys.executable, "-m", "serving.main", str(path)], check=True)
    return PackagingResult.read(workdir)


def linear(folder: Path) -> str:
    """Digest of a sealed artefact in the folder: four numbers in, three out."""
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["rows", "weights"], ["scores"])],
        "linear",
        [helper.make_tensor_value_info("rows", TensorProto.FLOAT, ["batch", 4])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["batch", 3])],
        [numpy_helper.from_array(np.full((4, 3), 0.1, np.float32), "weights")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    folder.mkdir()
    onnx.save(model, folder / ONNX)
    signature = Signature(
        inputs=[TensorSignature(name="rows", dtype="float32", shape=[4])],
        outputs=[TensorSignature(name="scores", dtype="float32", shape=[3])],
        task="classification",
        classes=["a", "b", "c"],
    )
    (folder / SIGNATURE).write_text(signature.model_dump_json())
    (folder / "input_example.json").write_text(json.dumps(ROWS))
    return seal(folder)


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    with pytest.MonkeyPatch.context() as patch, Emptied(patch) as created:
        yield created


@pytest.fixture(scope="module")
def shared(bucket) -> Iterator[TestCluster | RealCluster]:
    """One cluster for all tests; each has services of its own."""
    images = {"orrery-serving": ImagePlan(cwd=str(CHECKOUT))}
    with real_cluster() if IS_REAL else TestCluster(images) as created:
        environment = variables_of_the_bucket()
        for kind, name in (("ConfigMap", "orrery-settings"), ("Secret", "orrery-bucket")):
            data = {"data" if kind == "ConfigMap" else "stringData": environment}
            metadata = {"name": name, "namespace": created.namespace}
            created.api.create({"apiVersion": "v1", "kind": kind, "metadata": metadata, **data})
        yield created


@pytest.fixture(scope="module")
def gateway(shared) -> Iterator[GatewayProxy | RealGateway]:
    with RealGateway() if IS_REAL else GatewayProxy(shared) as created:
        yield created


@pytest.fixture
def cluster(shared) -> Iterator[TestCluster | RealCluster]:
    """The cluster, without the faults of the test before."""
    yield shared
    shared.api.heal()


def predict(url: str) -> dict[str, Any]:
    """What is answered there to the rows."""
    return httpx.post(url, json={"inputs": ROWS}, timeout=10).raise_for_status().json()


class World:
    """A service's deployments, the runtime that deploys them, and the traffic they get."""

    def __init__(self, cluster, gateway, bucket, bento, folder, name) -> None:
        self.cluster, self.gateway, self.name, self.folder = cluster, gateway, name, folder
        self.settings = ClusterSettings(
            namespace=cluster.namespace,
            kubeconfig=cluster.kubeconfig,
            serving_image=image("serving"),
            gateway=gateway.name,
            services_url=gateway.url,
            poll_s=0.1,
            stuck_s=STUCK_S,
        )
        self.objects = ObjectStore(bucket, folder / "cache")
        self._bento = bento
        self.changes: list[tuple[str, int]] = []
        self.runtime = self.runtime_with()

    def runtime_with(self, **changes) -> ClusterRuntime:
        settings = self.settings.model_copy(update=changes)
        return ClusterRuntime(Cluster(settings), self.objects, self.folder / "requests")

    def deployment(self, model_version: int, **changes) -> Deployment:
        """A deployment of the Bento that calls itself that version."""
        bento = self.folder / f"bento-{model_version}"
        if not bento.exists():
            shutil.copytree(self._bento.bento, bento)
            identity = bento / "src" / "identity.json"
            answer = {**json.loads(identity.read_bytes()), "model_version": model_version}
            identity.write_text(json.dumps(answer))
        deployment: dict[str, Any] = {
            "service": self.name,
            "version": f"v{model_version}-0123456789ab",
            "model_version": model_version,
            "artefact_digest": "0" * 64,
            "bento": bento,
            "bento_home": self.folder,
            "replicas": 1,
            "canary": [10, 50, 100],
            "step_s": 0.4,
        }
        return Deployment(**deployment | changes)

    def deploy(self, deployment: Deployment, runtime: ClusterRuntime | None = None, **how):
        hear = how.pop("on_change", lambda status: None)

        def on_change(status) -> None:
            self.changes.append((status.state, status.weight, status.message))
            hear(status)

        return (runtime or self.runtime).deploy(deployment, on_change, **how)

    def predict(self) -> httpx.Response:
        url = f"{self.gateway.url}/{self.name}/predict"
        return httpx.post(url, json={"inputs": ROWS}, timeout=10)

    def answering(self) -> int:
        return self.predict().raise_for_status().json()["model_version"]

    def status(self):
        return self.runtime.status(self.name)

    def objects_of(self, *kinds: str) -> list[tuple[str, str]]:
        """Kind and version of everything the cluster has of the service."""
        every = ("Deployment", "Service", "HTTPRoute", "HorizontalPodAutoscaler", "ScaledObject")
        return [
            (kind, each["metadata"]["labels"].get(VERSION_LABEL, ""))
            for kind in kinds or (*every, "PodDisruptionBudget")
            for each in self.cluster.api.list(kind, labels=f"orrery/service={self.label}")
        ]

    @property
    def label(self) -> str:
        return object_name(self.name)

    def pods(self) -> list[dict[str, Any]]:
        return self.cluster.api.list("Pod", labels=f"orrery/service={self.label}")

    def templates(self) -> dict[str, Any]:
        """What the pods of each version are made by."""
        deployed = self.cluster.api.list("Deployment", labels=f"orrery/service={self.label}")
        return {each["metadata"]["name"]: each["spec"]["template"] for each in deployed}

    def shares(self) -> dict[str, int]:
        """Percent of the traffic by version."""
        rule, of_model = self.cluster.api.get("HTTPRoute", self.label)["spec"]["rules"]
        assert of_model["backendRefs"] == rule["backendRefs"]
        return {b["name"].rpartition("-v")[2][:1]: b["weight"] for b in rule["backendRefs"]}


@pytest.fixture(scope="module")
def named(shared, gateway, bucket, bento, tmp_path_factory):
    """Makes the world of a service name, with a folder of its own."""

    def make(name: str) -> World:
        return World(shared, gateway, bucket, bento, tmp_path_factory.mktemp("world"), name)

    return make


def put_away(world: World) -> None:
    world.runtime.undeploy(world.name)
    for pod in world.pods():
        world.cluster.api.delete("Pod", pod["metadata"]["name"], grace_s=0)


@pytest.fixture
def world(cluster, named) -> Iterator[World]:
    """A service that nobody has deployed yet."""
    created = named(f"shop.{uuid.uuid4().hex[:6]}")
    yield created
    cluster.api.heal()
    put_away(created)


@pytest.fixture
def reader(cluster, named) -> Iterator[World]:
    """The service that the Bento was packaged for, whose name the model has; it serves."""
    created = named(PACKAGED_FOR)
    created.deploy(created.deployment(1))
    yield created
    put_away(created)


@pytest.fixture(scope="module")
def kept() -> list[str]:
    """Name of the service that the test before has left as it was, if it has."""
    return []


@pytest.fixture
def served(cluster, named, kept) -> Iterator[World]:
    """A service whose first version has the traffic."""
    created = named(kept.pop() if kept else f"shop.{uuid.uuid4().hex[:6]}")
    created.deploy(created.deployment(1))
    created.changes.clear()
    (pod,), version = created.pods(), created.deployment(1).version
    yield created
    cluster.api.heal()
    if is_as_before(created, version, pod["metadata"]["name"]):
        kept.append(created.name)
    else:
        put_away(created)


def is_as_before(world: World, version: str, pod: str) -> bool:
    """Whether the version alone serves, by that pod; those that are leaving are gone then."""
    for each in world.pods():
        if "deletionTimestamp" in each["metadata"]:
            world.cluster.api.delete("Pod", each["metadata"]["name"], grace_s=0)
    status = world.status()
    is_alone = world.objects_of("Deployment") == [("Deployment", version)]
    names = [each["metadata"]["name"] for each in world.pods()]
    return bool(status and status.serving == version and is_alone and names == [pod])


class Load(threading.Thread):
    """Requests without pause until told to stop."""

    def __init__(self, world: World) -> None:
        super().__init__(daemon=True)
        self._world, self._over = world, threading.Event()
        self.statuses: list[int] = []
        self.versions: list[int] = []

    def run(self) -> None:
        url = f"{self._world.gateway.url}/{self._world.name}/predict"
        with httpx.Client(timeout=10) as client:
            while not self._over.wait(0.01):
                answer = client.post(url, json={"inputs": ROWS})
                self.statuses.append(answer.status_code)
                if answer.status_code == 200:
                    self.versions.append(answer.json()["model_version"])

    def __enter__(self) -> "Load":
        self.start()
        until(lambda: self.statuses)
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self.join(20)


def test_the_first_deployment_answers_at_the_gateway(world):
    status = world.deploy(world.deployment(1))

    assert (status.state, status.weight, status.serving) == ("serving", 100, status.target)
    assert [replica.state for replica in status.replicas] == ["ready"]
    assert world.runtime.endpoint(world.name) == status.url
    answer = predict(status.url)
    assert answer["outputs"][0][0] == pytest.approx(0.4)


def test_the_gateway_finds_a_service_by_the_name_of_its_model(reader):
    model = f"{reader.gateway.url}/v2/models/{reader.name}"
    (taken,) = httpx.get(model).json()["inputs"]
    ones = {"name": taken["name"], "datatype": "FP32", "shape": [1, 4], "data": [1, 1, 1, 1]}
    answer = httpx.post(f"{model}/infer", json={"inputs": [ones]}).json()
    assert answer["outputs"][0]["data"][0] == pytest.approx(0.4)
    assert httpx.get(f"{model}er").status_code == 404


@only_double("asks a pod from outside of the cluster")
def test_pods_answer_grpc(reader):
    (pod,) = reader.pods()
    ports = {p["name"]: p["containerPort"] for p in pod["spec"]["containers"][0]["ports"]}
    address = f"{pod['status']['podIP']}:{ports['grpc']}"
    with triton_grpc.InferenceServerClient(address) as client:
        assert client.is_model_ready(reader.name)


def test_two_replicas_both_answer(served):
    served.deploy(served.deployment(1, replicas=2))

    url = f"{served.gateway.url}/{served.name}/livez"
    until(lambda: len({httpx.get(url).json()["pid"] for _ in range(20)}) == 2)


def test_a_new_version_takes_over_step_by_step_without_a_failed_request(served):
    with Load(served) as load:
        served.deploy(served.deployment(2))
        until(lambda: load.versions[-1] == 2)

    assert set(load.statuses) == {200}
    weights = [weight for state, weight, _ in served.changes if state == "canary"]
    assert list(dict.fromkeys(weights)) == [10, 50, 100]
    first = load.versions.index(2)
    assert 1 in load.versions[first:]


def test_nothing_of_the_earlier_version_is_left(served):
    served.deploy(served.deployment(2))

    version = served.deployment(2).version
    assert served.objects_of() == [
        ("Deployment", version),
        ("Service", ""),
        ("Service", version),
        ("HTTPRoute", ""),
    ]


def test_a_bento_that_is_not_the_one_of_the_digest_is_not_served(served, monkeypatch):
    monkeypatch.setattr("resources.services.cluster.adapter.pack", wrongly_packed)

    with pytest.raises(DeploymentFailed, match=r"does not start.*has hash .* expected 000000"):
        served.deploy(served.deployment(2))

    assert served.answering() == 1


def wrongly_packed(folder: Path, archive: Path) -> str:
    archive.write_bytes(b"something else")
    return "0" * 64


def test_a_version_that_dies_at_its_start_is_rolled_back_with_its_own_words(served):
    deployment = served.deployment(2)
    (deployment.bento / "src" / "serve.py").write_text("raise SystemExit('no such model')")

    with Load(served) as load, pytest.raises(DeploymentFailed, match="no such model"):
        served.deploy(deployment)

    assert (set(load.statuses), set(load.versions)) == ({200}, {1})
    status = served.status()
    assert (status.state, status.weight) == ("rolled_back", 0)
    assert "no such model" in status.message
    assert served.objects_of("Deployment") == [("Deployment", status.serving)]


def test_a_canary_that_answers_with_errors_is_rolled_back(served):
    deployment = served.deployment(2, step_s=10, canary=[50, 100])
    fail_all_predictions(deployment.bento)

    with Load(served), pytest.raises(DeploymentFailed, match=r"with errors at 50 % of the tra"):
        served.deploy(deployment)

    assert served.shares() == {"1": 100}
    assert served.answering() == 1


@needs_faults
def test_a_canary_that_dies_is_rolled_back(served):
    deployment = served.deployment(2, step_s=10, canary=[50, 100])

    def kill(status) -> None:
        if status.state == "canary":
            (pod,) = [p for p in served.pods() if p["metadata"]["labels"][VERSION_LABEL][1] == "2"]
            served.cluster.kubelet.oom_kill(pod["metadata"]["name"])

    with pytest.raises(DeploymentFailed, match=r"died \(.*OOMKilled.*at 50 %"):
        served.deploy(deployment, on_change=kill)

    assert served.answering() == 1


def test_an_image_that_cannot_be_pulled_is_told_and_refused(served):
    with pytest.raises(DeploymentFailed, match="ImagePull"):
        served.deploy(served.deployment(2), requirements=Requirements(image="nowhere:1"))

    assert any("ImagePull" in message for _, _, message in served.changes[:-1])
    assert served.answering() == 1


def test_a_version_that_serves_keeps_its_form_where_a_new_one_fails(served):
    # Another version that was refused in between does not count.
    with pytest.raises(DeploymentFailed):
        served.deploy(served.deployment(2), requirements=Requirements(image="nowhere:1"))
    before = served.templates()
    serving = [pod["metadata"]["name"] for pod in served.pods()]

    with Load(served) as load, pytest.raises(DeploymentFailed, match="ImagePull"):
        served.deploy(served.deployment(1), requirements=Requirements(image="nowhere:1"))

    assert served.status().state == "rolled_back"
    until(lambda: [pod["metadata"]["name"] for pod in served.pods()] == serving)
    assert served.templates() == before
    assert set(load.statuses) == {200}


def test_a_quota_that_is_used_up_is_told_and_waited_for(served):
    quota = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "small", "namespace": served.cluster.namespace},
        "spec": {"hard": {"pods": "0"}},
    }
    served.cluster.api.create(quota)

    def make_room(status) -> None:
        if "exceeded quota" in status.message:
            served.cluster.api.delete("ResourceQuota", "small", served.cluster.namespace)

    served.deploy(served.deployment(2), on_change=make_room)

    assert served.answering() == 2


def test_memory_that_was_measured_a_little_differently_replaces_no_pod(served):
    def deploy(memory: str) -> list[str]:
        measured = Requirements(memory=memory, memory_limit="1024Mi")
        served.deploy(served.deployment(1), requirements=measured)
        return [pod["metadata"]["name"] for pod in served.pods()]

    until(lambda: len(deploy("160Mi")) == 1)
    assert deploy("160Mi") == deploy("192Mi")


@pytest.fixture
def interrupted(served):
    """Interrupts the driver of a deployment at half of the traffic."""

    def interrupt(driver: Driver) -> None:
        def at_half(status) -> None:
            if status.weight == 50:
                raise Interrupted

        with pytest.raises(Interrupted):
            served.deploy(served.deployment(2), on_change=at_half, driver=driver)

    return interrupt


def test_the_retry_of_a_lost_driver_goes_on_from_what_it_reached(served, interrupted):
    interrupted(LOST)
    assert served.shares() == {"1": 50, "2": 50}
    served.changes.clear()

    served.deploy(served.deployment(2))

    assert min(weight for _, weight, _ in served.changes) == 50
    assert (served.answering(), served.shares()) == (2, {"2": 100})


def test_the_deployment_of_a_lost_driver_is_stopped_for_it(served, interrupted):
    interrupted(LOST)
    served.runtime.stop(served.name, "another run")
    assert served.shares() == {"1": 50, "2": 50}

    served.runtime.stop(served.name, "run")

    assert served.shares() == {"1": 100}
    assert served.objects_of("Deployment") == [("Deployment", served.deployment(1).version)]
    assert "was stopped" in served.status().message


def test_the_sweep_stops_deployments_that_nobody_waits_for_and_a_gateway_leaves_them(
    served, interrupted
):
    interrupted(LOST)
    of_a_gateway = ClusterRuntime(
        Cluster(served.settings), served.objects, served.folder, leaves_stops=True
    )
    of_a_gateway.stop(served.name, "run")
    assert served.runtime.end_abandoned(lambda run: run == "run") == []
    assert served.shares() == {"1": 50, "2": 50}

    assert served.runtime.end_abandoned(lambda run: False) == [served.name]

    assert served.shares() == {"1": 100}
    assert served.runtime.end_abandoned(lambda run: False) == []


def test_a_cancelled_driver_gives_the_traffic_back(served, interrupted):
    interrupted(Driver("run", lambda: True))

    assert served.shares() == {"1": 100}
    assert served.objects_of("Deployment") == [("Deployment", served.deployment(1).version)]
    first, second = served.deployment(1).version, served.deployment(2).version
    text = f"the deployment of {second} was stopped; version {first} has all traffic"
    assert served.status().message == text
    assert {a.version: a.percent for a in served.status().answering} == {first: 100}


def test_a_deployment_gives_way_to_a_later_one(served):
    caught: list[BaseException] = []

    def deploy() -> None:
        try:
            served.deploy(served.deployment(2, step_s=30))
        except DeploymentFailed as error:
            caught.append(error)

    earlier = threading.Thread(target=deploy, daemon=True)
    earlier.start()
    until(lambda: served.shares() == {"1": 90, "2": 10})

    served.deploy(served.deployment(3))

    earlier.join(20)
    assert [type(error) for error in caught] == [Superseded]
    assert served.objects_of("Deployment") == [("Deployment", served.deployment(3).version)]


def in_the_background(
    world: World, deployment: Deployment
) -> tuple[threading.Thread, list[Exception]]:
    """A driver of the deployment, and what it raises."""
    caught: list[Exception] = []

    def deploy() -> None:
        try:
            world.deploy(deployment)
        except DeploymentFailed as error:
            caught.append(error)

    thread = threading.Thread(target=deploy, daemon=True)
    thread.start()
    return thread, caught


def test_going_back_in_the_last_canary_step_costs_no_request(served):
    with Load(served) as load:
        earlier, caught = in_the_background(served, served.deployment(2, canary=[100], step_s=600))
        until(lambda: served.shares() == {"2": 100})
        until(lambda: load.versions[-1] == 2)

        status = served.deploy(served.deployment(1))

        earlier.join(20)
        until(lambda: load.versions[-1] == 1)
    assert [type(error) for error in caught] == [Superseded]
    assert set(load.statuses) == {200}
    first = served.deployment(1).version
    assert (status.state, served.shares()) == ("serving", {"1": 100})
    assert [(a.version, a.percent) for a in served.status().answering] == [(first, 100)]
    assert served.objects_of("Deployment") == [("Deployment", first)]


def test_of_two_deployments_the_one_that_was_requested_later_wins(served):
    served.deploy(served.deployment(2, asked_at=2_000_000_000.0))

    with pytest.raises(Superseded, match="gives way to v2"):
        served.deploy(served.deployment(3, asked_at=1_900_000_000.0))

    assert served.answering() == 2
    assert served.objects_of("Deployment") == [("Deployment", served.deployment(2).version)]
    served.deploy(served.deployment(1, asked_at=2_100_000_000.0))


def test_deployments_at_the_same_moment_leave_one_version_and_what_is_reported_answers(served):
    second, third = served.deployment(2), served.deployment(3)
    drivers = [in_the_background(served, deployment) for deployment in (second, third)]

    for thread, _ in drivers:
        thread.join(60)

    caught = [error for _, errors in drivers for error in errors]
    assert [type(error) for error in caught] == [Superseded]
    status = served.status()
    assert (status.state, status.target) == ("serving", status.serving)
    assert served.objects_of("Deployment") == [("Deployment", status.serving)]
    (answering,) = status.answering
    assert (answering.model_version, answering.percent) == (served.answering(), 100)


def test_what_a_lost_driver_left_is_taken_away_by_the_next_deployment(served, interrupted):
    interrupted(LOST)

    served.deploy(served.deployment(3))

    assert served.objects_of("Deployment") == [("Deployment", served.deployment(3).version)]


def test_a_canary_is_reported_by_the_shares_that_answer(served):
    seen: list[dict[int, int]] = []

    def look(status) -> None:
        if status.state == "canary":
            seen.append({a.model_version: a.percent for a in status.answering})

    served.deploy(served.deployment(2, canary=[10, 100]), on_change=look)

    assert seen == [{1: 90, 2: 10}, {2: 100}]
    (answering,) = served.status().answering
    assert (answering.artefact_digest, answering.requests) == ("0" * 64, None)


def test_a_first_deployment_that_is_stopped_leaves_nothing_that_serves(world):
    def interrupt(_) -> None:
        raise Interrupted

    with pytest.raises(Interrupted):
        world.deploy(world.deployment(1), on_change=interrupt, driver=Driver("run", lambda: True))

    status = world.status()
    assert status.message.endswith("was stopped; nothing serves")
    assert (status.answering, world.runtime.endpoint(world.name)) == ([], None)
    assert world.objects_of("Deployment", "HTTPRoute") == []


def test_a_service_undeployed_in_the_middle_stays_undeployed(served):
    def undeploy(status) -> None:
        if status.weight == 10:
            served.runtime.undeploy(served.name)

    with pytest.raises(Superseded, match="it was undeployed"):
        served.deploy(served.deployment(2), on_change=undeploy)

    assert served.objects_of() == []


def test_an_undeployed_service_leaves_nothing(served):
    served.runtime.undeploy(served.name)

    assert served.objects_of() == []
    assert served.status() is None
    until(lambda: served.predict().status_code == 404)
    until(lambda: all("deletionTimestamp" in pod["metadata"] for pod in served.pods()))


@needs_faults
def test_a_deployment_equal_to_the_serving_one_changes_nothing(served):
    writes, stored = len(served.cluster.api.requests), buckets.written()

    status = served.deploy(served.deployment(1))

    assert status.state == "serving"
    assert {method for method, _, _ in served.cluster.api.requests[writes:]} == {"GET"}
    assert buckets.written() == stored


def test_a_rolled_back_service_takes_its_own_version_again(served):
    with pytest.raises(DeploymentFailed):
        served.deploy(served.deployment(2), requirements=Requirements(image="nowhere:1"))

    with Load(served) as load:
        status = served.deploy(served.deployment(1))

    assert (status.state, status.weight, status.message) == ("serving", 100, "")
    assert set(load.statuses) == {200}


def test_more_replicas_of_the_serving_version_need_no_canary(served):
    with Load(served) as load:
        status = served.deploy(served.deployment(1, replicas=2))

    assert [replica.state for replica in status.replicas] == ["ready", "ready"]
    assert {weight for _, weight, _ in served.changes} == {100}
    assert set(load.statuses) == {200}


def test_a_pod_deleted_by_hand_comes_back_and_is_counted(served):
    (first,) = served.pods()

    served.cluster.api.delete("Pod", first["metadata"]["name"])

    states = until(lambda: (s := [r.state for r in served.status().replicas]).count("ready") and s)
    assert sorted(states) in (["ready"], ["ready", "stopping"])
    assert served.answering() == 1


@needs_faults
def test_errors_of_the_api_server_that_pass_are_waited_out(world):
    for status in (429, 500, 503):
        world.cluster.api.fail(status, times=1, path="deployments|services|httproutes")
        world.cluster.api.fail(status, times=1, method="PATCH", path="httproutes")

    assert world.deploy(world.deployment(1)).state == "serving"


def test_the_request_log_reaches_the_bucket_to_the_last_request(world):
    log = RequestLogPlan(folder=world.folder, sample=1.0, megabytes=1)
    world.deploy(world.deployment(1, request_log=log))
    world.answering()

    world.runtime.undeploy(world.name)

    logs = RequestLogs(world.folder / "fetched", world.objects)
    recent = until(lambda: logs.recent(world.name))
    assert (recent.model_version, recent.rows) == (1, ROWS)


@pytest.mark.parametrize(
    ("autoscaler", "kind"), [("hpa", "HorizontalPodAutoscaler"), ("keda", "ScaledObject")]
)
def test_a_service_with_room_to_grow_is_scaled(served, autoscaler, kind):
    if autoscaler == "keda":
        served.cluster.require("keda")
    runtime = served.runtime_with(autoscaler=autoscaler, prometheus_url="http://prometheus")

    served.deploy(served.deployment(1, most_replicas=3), runtime)

    version = served.deployment(1).version
    created = served.objects_of("HorizontalPodAutoscaler", "ScaledObject", "PodDisruptionBudget")
    assert created == [(kind, version), ("PodDisruptionBudget", version)]
    runtime.undeploy(served.name)


@pytest.mark.parametrize(("before", "after"), [("keda", "hpa"), ("hpa", "keda")])
def test_a_service_that_changes_its_autoscaler_keeps_none_of_the_other(world, before, after):
    world.cluster.require("keda")
    url = "http://prometheus"
    old, new = (world.runtime_with(autoscaler=a, prometheus_url=url) for a in (before, after))
    world.deploy(world.deployment(1, most_replicas=3), old)

    world.deploy(world.deployment(1, most_replicas=3), new)

    (scaler,) = world.objects_of("HorizontalPodAutoscaler", "ScaledObject")
    assert (scaler[0] == "ScaledObject") is (after == "keda")


@needs_faults
def test_an_autoscaler_that_keda_still_knows_for_a_moment_is_waited_out(world):
    runtime = world.runtime_with(autoscaler="keda", prometheus_url="http://prometheus")
    world.cluster.api.fail(403, times=2, method="PATCH", path="scaledobjects")

    assert world.deploy(world.deployment(1, most_replicas=3), runtime).state == "serving"


def test_a_service_is_undeployed_from_a_gateway_that_is_no_longer_in_the_settings(world):
    world.deploy(world.deployment(1))

    world.runtime_with(gateway="", services_url="").undeploy(world.name)

    assert world.objects_of("HTTPRoute", "Service", "Deployment") == []


def test_a_new_version_begins_with_as_many_replicas_as_the_autoscaler_had(served):
    served.deploy(served.deployment(1, most_replicas=2))
    (created,) = served.cluster.api.list("Deployment", labels=f"orrery/service={served.label}")
    served.cluster.api.patch("Deployment", created["metadata"]["name"], {"spec": {"replicas": 2}})

    served.deploy(served.deployment(2, most_replicas=2, canary=[100]))

    (created,) = served.cluster.api.list("Deployment", labels=f"orrery/service={served.label}")
    assert created["spec"]["replicas"] == 2


@only_double("asks a pod from outside of the cluster")
def test_without_a_gateway_the_address_in_the_cluster_changes_at_once(world):
    runtime = world.runtime_with(gateway="", services_url="")
    world.deploy(world.deployment(1), runtime)

    status = world.deploy(world.deployment(2), runtime)

    service = world.cluster.api.get("Service", world.label)
    host, port = world.gateway.pod_of(service, 80)
    answer = predict(f"http://{host}:{port}/predict")
    assert answer["model_version"] == 2
    assert status.url == f"http://{world.label}.{world.cluster.namespace}.svc/predict"
    assert world.objects_of("HTTPRoute") == []


@pytest.fixture
def within(served):
    """Where a process of the cluster itself asks."""
    inside = Cluster(served.settings.model_copy(update={"kubeconfig": None}))
    inside._client = served.runtime._cluster._client
    return lambda: ServiceDirectory(inside).endpoints(served.name)


def test_a_process_of_the_cluster_asks_a_service_without_leaving_the_cluster(served, within):
    assert within() == {f"http://{served.label}.{served.cluster.namespace}.svc/predict": 100}


def test_a_new_version_has_its_share_of_what_processes_of_the_cluster_ask(served, within):
    results: list[dict[str, int]] = []
    deployment = served.deployment(2, canary=[30, 100])

    def look(status) -> None:
        if (status.state, status.weight) == ("canary", 30):
            results.append(within())

    served.deploy(deployment, on_change=look)

    assert {deployment.version in url: percent for url, percent in results[0].items()} == {
        False: 70,
        True: 30,
    }


def test_a_service_that_was_never_deployed_has_no_endpoint(world):
    assert world.runtime.endpoint(world.name) is None


def test_every_service_is_listed(served):
    result = {status.service: status for status in served.runtime.statuses()}

    assert result[served.name] == served.status()


def test_pods_are_given_the_bucket_and_no_other_secret(served):
    (pod,) = served.pods()

    (answering,), beside = pod["spec"]["containers"], pod["spec"]["initContainers"]
    assert "secretRef" not in json.dumps(answering)
    secrets = [s["secretRef"]["name"] for c in beside for s in c["envFrom"] if "secretRef" in s]
    assert set(secrets) == {"orrery-bucket"}


class Registry:
    """A builder image whose program records what it was asked to build and push."""

    def __init__(self, world: World, folder: Path) -> None:
        self.world, self.pushed, self._bin = world, folder / "pushed.txt", folder / "bin"
        self.settings = {"registry": "registry.test/models", "builder_image": "builder:1"}
        self._bin.mkdir()
        self.bento = world.deployment(1).bento
        python = f'exec {sys.executable} "${{1/#*bento/{self.bento}}}" "${{@:2}}"'
        self._write("python", python)
        self.build_with(f'echo "$@" >> {self.pushed}')
        images = world.cluster.kubelet.images
        images["^builder:1$"] = ImagePlan(python=str(self._bin / "python"))
        images["^registry.test/"] = ImagePlan(python=str(self._bin / "python"))

    def build_with(self, script: str) -> None:
        self._write("buildctl-daemonless.sh", script)

    def _write(self, name: str, script: str) -> None:
        path = self._bin / name
        path.write_text(f"#!/bin/bash\n{script}\n")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)

    def deploy(self):
        return self.world.deploy(self.world.deployment(1), self.world.runtime_with(**self.settings))

    def jobs(self) -> list[dict[str, Any]]:
        return self.world.cluster.api.list("Job")


@pytest.fixture
def registry(world, tmp_path) -> Iterator[Registry]:
    if IS_REAL:
        pytest.skip("puts programs in the place of images, which only the double can")
    yield Registry(world, tmp_path)
    for job in world.cluster.api.list("Job"):
        world.cluster.api.delete("Job", job["metadata"]["name"], policy="Background")


def test_with_a_registry_the_bento_is_in_the_image(world, registry):
    registry.deploy()

    (pod,) = world.pods()
    (answering,) = pod["spec"]["containers"]
    assert f"type=image,name={answering['image']},push=true" in registry.pushed.read_text()
    assert answering["command"][1].startswith(BUILT_BENTO)
    assert not pod["spec"].get("initContainers")
    assert world.answering() == 1


def test_an_image_that_is_being_built_is_not_built_twice(world, registry):
    go = registry.pushed.with_name("go")
    registry.build_with(f"until test -e {go}; do sleep 0.05; done; echo x >> {registry.pushed}")
    runs = [threading.Thread(target=registry.deploy, daemon=True) for _ in range(2)]
    for run in runs:
        run.start()
    until(registry.jobs)

    go.touch()

    for run in runs:
        run.join(30)
    assert (world.answering(), registry.pushed.read_text()) == (1, "x\n")


def test_a_failed_build_is_told_with_its_log_and_built_anew_the_next_time(world, registry):
    registry.build_with("echo the disk is full; exit 1")
    with pytest.raises(DeploymentFailed, match="the disk is full"):
        registry.deploy()
    registry.build_with("true")

    assert registry.deploy().state == "serving"


def test_a_bento_that_cannot_be_fetched_to_be_built_is_told(registry, monkeypatch):
    monkeypatch.setattr("resources.services.cluster.adapter.pack", wrongly_packed)

    with pytest.raises(DeploymentFailed, match=r"was not built.* has hash .* expected 000000"):
        registry.deploy()
