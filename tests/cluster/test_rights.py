"""Every account of the platform is granted what it uses, and nothing else.

Each does all that it ever does, against an API server that enforces the roles and notes what was
done; only the programs of pods are small.
"""

import os
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from dagster import DagsterInstance, DagsterRun, DagsterRunStatus
from dagster._core.code_pointer import ModuleCodePointer
from dagster._core.launcher.base import LaunchRunContext
from dagster._core.origin import JobPythonOrigin, RepositoryPythonOrigin
from dagster_k8s.client import DagsterKubernetesClient
from dagster_k8s.job import get_job_name_from_run_id
from kubernetes import config

from deploy.doctor.cluster.cluster_checks import check_cluster
from deploy.doctor.cluster.rights import (
    COLLECTION,
    DAEMON,
    GATEWAY,
    LOOKS,
    LOOKS_AT_BUILDS,
    RUNS,
    USES,
    USES_OF_BUILDS,
    Use,
    rights,
)
from engine.progress import Progress
from resources.compute.contract import Driver, ignore
from resources.compute.rayjob.adapter import KubeRay
from resources.compute.requirements import Requirements
from resources.kubernetes_api.client import Cluster
from resources.kubernetes_api.kinds import group_of
from resources.kubernetes_api.settings import ClusterSettings
from resources.orchestration.cluster_launcher import ClusterLauncher
from resources.services.cluster.adapter import ClusterRuntime
from resources.services.cluster.image_builder import ImageBuilder
from resources.services.cluster.rollout import ClusterRollout
from resources.services.local import DeploymentFailed
from resources.settings import CHECKOUT
from serving.contract import Deployment, ServiceStatus
from serving.rollout import Rollout, Variant
from tests import buckets
from tests.cluster.counting import CountingResult, CountingSpec
from tests.cluster.double.controllers.gateway_proxy import GatewayProxy
from tests.cluster.fixtures import PYTHON_IMAGE, ImagePlan, TestCluster
from tests.cluster.real_cluster import only_double
from tests.cluster.test_compute import make_queue, make_room, queue_name, quotas
from tests.cluster.test_image_builder import BENTO, BUILDS, Workshop
from tests.cluster.test_run_pods import launch, pod_of, runs
from tests.cluster.test_services import World, bento
from tests.deploy.manifests import KUBERNETES
from tests.waiting import until

__all__ = ["bento"]

pytestmark = only_double("it enforces roles, and notes what is done")

ROLES = KUBERNETES / "base" / "accounts.yaml"
ROLES_OF_BUILDS = KUBERNETES / "components" / "builder" / "accounts.yaml"
RBAC = ("Role", "RoleBinding")
NO_RUN = "00000000-0000-0000-0000-000000000000"
MODULE = "tests.cluster.counting"
WHERE_IMAGES_ARE_BUILT = {"registry": "registry.test/models", "build_namespace": BUILDS}
Rights = set[tuple[str, str, str]]
"""Verb, API group, and resource with its subresource."""


class Platform:
    """The accounts of a platform at work, one after another, on one cluster."""

    def __init__(self, cluster: TestCluster, objects: str, folder: Path) -> None:
        self.cluster, self._objects, self.folder = cluster, objects, folder
        self.settings = ClusterSettings(
            namespace=cluster.namespace,
            kubeconfig=cluster.kubeconfig,
            control_image=PYTHON_IMAGE,
            queue="training",
            poll_s=0.1,
        )
        self.authorizer = cluster.api.endpoints.authorizer

    def become(self, account: str) -> None:
        """Send the requests of this process as the account."""
        user = f"system:serviceaccount:{self.cluster.namespace}:{account}"
        self.cluster.api.act_as(user, has_roles=True)

    def done_by(self, account: str, namespace: str) -> Rights:
        user = f"system:serviceaccount:{self.cluster.namespace}:{account}"
        return {
            (each.verb, each.group, each.resource)
            for each in self.authorizer.audit
            if (each.user, each.namespace) == (user, namespace)
        }

    def train(self) -> None:
        """A job to its end, and one that a quota refuses until it is cancelled."""
        compute = self.compute()
        compute.run(MODULE, self.spec(compute), CountingResult, ignore)
        self.quota(pods="0")

        def give_up(line: Progress) -> None:
            if "exceeded quota" in line.message:
                raise Over

        compute = self.compute(queue="")
        with pytest.raises(Over):
            compute.run(
                MODULE,
                self.spec(compute),
                CountingResult,
                give_up,
                driver=Driver("cancelled", lambda: True),
            )
        self.cluster.api.delete("ResourceQuota", "small")

    def quota(self, **hard: str) -> None:
        body = {"metadata": {"name": "small"}, "spec": {"hard": hard}}
        self.cluster.api.create({"apiVersion": "v1", "kind": "ResourceQuota", **body})

    def leave_a_job(self) -> None:
        """A job of several pods whose driver is lost while it waits in its queue."""
        name = queue_name(self.cluster)
        full = {"resourceGroups": [quotas(name, 0)]}
        self.cluster.api.patch("ClusterQueue", name, {"spec": full})
        compute = self.compute()

        def lose(line: Progress) -> None:
            if "waits in queue" in line.message:
                raise Over

        wide = Requirements(workers=2)
        with pytest.raises(Over):
            compute.run(
                MODULE,
                self.spec(compute),
                CountingResult,
                lose,
                requirements=wide,
                driver=Driver("lost", lambda: False),
            )
        make_room(self.cluster)

    def compute(self, **changes: Any) -> KubeRay:
        settings = self.settings.model_copy(update=changes)
        return KubeRay(self.folder / "work", self._objects, Cluster(settings))

    def spec(self, compute: KubeRay) -> CountingSpec:
        job = uuid.uuid4().hex[:20]
        return CountingSpec(job=job, workdir=compute.workdir(job), timeout_s=300, steps=2)

    def step_in_a_pod(self) -> None:
        """What dagster_k8s does for a step with a pod of its own."""
        client = DagsterKubernetesClient.production_client()
        run_id = launch(self.settings)
        until(lambda: runs(self.cluster, run_id))
        name = get_job_name_from_run_id(run_id)
        client.get_job_status(namespace=self.cluster.namespace, job_name=name)
        client.delete_job(job_name=name, namespace=self.cluster.namespace)

    def launch(self, launcher: ClusterLauncher) -> DagsterRun:
        """A dagster_run whose pod runs, launched as the daemon does."""
        repository = RepositoryPythonOrigin("python", ModuleCodePointer("definitions", "defs"))
        run = DagsterRun(
            job_name="turn",
            status=DagsterRunStatus.STARTED,
            job_code_origin=JobPythonOrigin("turn", repository),
        )
        launcher._instance.add_run(run)
        launcher.launch_run(LaunchRunContext(dagster_run=run, workspace=None))
        until(lambda: pod_of(self.cluster, run.run_id))
        return run

    def deploy(self, world: World, failing: World) -> None:
        """A service, its second version in steps, and one whose first version is never ready."""
        world.deploy(world.deployment(1, most_replicas=2))
        world.deploy(world.deployment(2, most_replicas=2), self.scaled_by_keda(world))
        with pytest.raises(DeploymentFailed):
            failing.deploy(failing.deployment(1), requirements=Requirements(image="nowhere:1"))
        failing.deploy(failing.deployment(2, most_replicas=2))
        self.lose_the_service(world)

    def lose_the_service(self, world: World) -> None:
        """What a driver does whose service was undeployed between two of its looks."""
        ClusterRollout(Cluster(world.settings), "shop.gone", Variant("v1")).lead(Rollout())

    def leave(self, world: World, deployment: Deployment, weight: int, **how: Any) -> None:
        """A deployment whose driver is lost once it has so much of the traffic."""

        def lose(status: ServiceStatus) -> None:
            if status.weight == weight:
                raise Over

        lost = Driver("lost", lambda: False)
        with pytest.raises(Over):
            world.deploy(deployment, on_change=lose, driver=lost, **how)

    def scaled_by_keda(self, world: World) -> ClusterRuntime:
        return world.runtime_with(autoscaler="keda", prometheus_url="http://prometheus")

    def build(self) -> None:
        """An image of a service, and one whose build fails."""
        workshop = Workshop(self.cluster, self.folder)
        for image in ("^builder:1$", "^packer:1$"):
            self.cluster.kubelet.images[image] = ImagePlan(python=workshop.python)
        named = {"builder_image": "builder:1", "serving_image": "packer:1"}
        builder = ImageBuilder(
            Cluster(self.settings.model_copy(update={**named, **WHERE_IMAGES_ARE_BUILT}))
        )
        builder.build(*BENTO)
        workshop._write("buildctl-daemonless.sh", "exit 1")
        with pytest.raises(DeploymentFailed):
            builder.build("shop.other", *BENTO[1:])

    def examine(self) -> None:
        """What `orrery doctor` looks at."""
        everything = {**WHERE_IMAGES_ARE_BUILT, "gateway": f"{self.cluster.namespace}/public"}
        cluster = Cluster(self.settings.model_copy(update=everything))
        assert list(check_cluster(cluster, self.folder / "secret", None))


class Over(Exception):
    """The walk has seen what it wanted."""


@pytest.fixture(scope="module")
def platform(bento, tmp_path_factory) -> Iterator[Platform]:
    """A platform whose accounts have done everything that they do."""
    folder = tmp_path_factory.mktemp("platform")
    images = {"orrery-(serving|training)": ImagePlan(cwd=str(CHECKOUT))}
    with pytest.MonkeyPatch.context() as patch, TestCluster(images) as cluster:
        objects = buckets.make_bucket(patch)
        for name in ("dagster", "world", "failing"):
            (folder / name).mkdir()
        prepare(cluster)
        created = Platform(cluster, objects, folder)
        config.load_kube_config(str(cluster.kubeconfig))
        with (
            GatewayProxy(cluster) as proxy,
            DagsterInstance.local_temp(str(folder / "dagster")) as instance,
        ):
            world = World(cluster, proxy, objects, bento, folder / "world", "shop.reader")
            failing = World(cluster, proxy, objects, bento, folder / "failing", "shop.failing")
            walk(created, world, failing, instance)
            yield created
            cluster.api.act_as("test")


def prepare(cluster: TestCluster) -> None:
    """What the overlays give a namespace, and the roles of the accounts."""
    environment = {name: value for name, value in os.environ.items() if name[:4] == "AWS_"}
    cluster.api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": BUILDS}})
    for name in ("orrery-secrets", "orrery-engines", "orrery-bucket"):
        body = {"metadata": {"name": name}, "stringData": environment}
        cluster.api.create({"apiVersion": "v1", "kind": "Secret", **body})
    settings = {"metadata": {"name": "orrery-settings"}, "data": environment}
    cluster.api.create({"apiVersion": "v1", "kind": "ConfigMap", **settings})
    account = {"metadata": {"name": RUNS}}
    cluster.api.create({"apiVersion": "v1", "kind": "ServiceAccount", **account})
    make_queue(cluster, pods=100)
    for file, namespace in ((ROLES, cluster.namespace), (ROLES_OF_BUILDS, BUILDS)):
        for thing in roles(file):
            thing["metadata"].pop("namespace", None)
            for subject in thing.get("subjects", ()):
                subject["namespace"] = cluster.namespace
            cluster.api.create(thing, namespace)


def roles(file: Path) -> list[dict[str, Any]]:
    return [each for each in yaml.safe_load_all(file.read_text()) if each["kind"] in RBAC]


def walk(platform: Platform, world: World, failing: World, instance: DagsterInstance) -> None:
    """Everything that each account does."""
    launcher = ClusterLauncher.of(platform.settings, None)
    launcher.register_instance(instance)
    platform.become(DAEMON)
    run, other = platform.launch(launcher), platform.launch(launcher)
    launcher.check_run_worker_health(run)
    launcher.get_run_worker_debug_info(run)
    launcher.terminate(other.run_id)
    assert not launcher.waits_for_room(NO_RUN, 0.0)

    platform.become(RUNS)
    platform.train()
    platform.step_in_a_pod()
    platform.deploy(world, failing)
    platform.build()
    platform.leave_a_job()

    stop_deployments(platform, world)

    platform.become(COLLECTION)
    assert world.runtime.in_use()

    platform.become(GATEWAY)
    world.runtime.statuses()
    world.runtime.endpoints(world.name)
    launcher.pods.trouble_of(run.run_id)
    assert launcher.pods.trouble_of(NO_RUN) == ""
    launcher.terminate(run.run_id)
    platform.examine()
    for each in (world, failing):
        each.runtime.undeploy(each.name)

    platform.become(DAEMON)
    assert len(platform.compute().end_abandoned(lambda run_id: False)) == 1
    platform.launch(launcher)
    assert launcher.pods.end_abandoned(lambda run_id: False)


def stop_deployments(platform: Platform, world: World) -> None:
    """Stop what lost drivers left: forms with other objects than the one before, by either
    autoscaler, and a version in the middle of its steps."""
    nowhere = Requirements(image="nowhere:1")
    for runtime in (world.runtime, platform.scaled_by_keda(world)):
        for served, left in ((2, 1), (1, 2)):
            platform.become(RUNS)
            world.deploy(world.deployment(2, most_replicas=served), runtime)
            form = world.deployment(2, most_replicas=left)
            platform.leave(world, form, weight=100, requirements=nowhere)
            platform.become(DAEMON)
            assert world.runtime.end_abandoned(lambda run_id: False) == [world.name]
    platform.become(RUNS)
    world.deploy(world.deployment(2, most_replicas=2), platform.scaled_by_keda(world))
    platform.leave(world, world.deployment(3, most_replicas=2), weight=50)
    platform.become(DAEMON)
    assert world.runtime.end_abandoned(lambda run_id: False) == [world.name]
    platform.lose_the_service(world)


def granted(account: str, file: Path) -> Rights:
    """Everything that the file's roles grant the account."""
    things = roles(file)
    bound = {
        each["roleRef"]["name"]
        for each in things
        if each["kind"] == "RoleBinding"
        and any(subject["name"] == account for subject in each["subjects"])
    }
    return {
        (verb, group, resource)
        for each in things
        if each["kind"] == "Role" and each["metadata"]["name"] in bound
        for rule in each["rules"]
        for verb in rule["verbs"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
    }


def known(uses: Sequence[Use]) -> Rights:
    """Rights of the doctor's table, where every setting is set."""
    everything = ClusterSettings(registry="r", queue="q", gateway="g/g")
    return {
        (right.verb, group_of(right.kind), right.resource) for right in rights(uses, everything)
    }


@pytest.mark.parametrize("account", [GATEWAY, DAEMON, COLLECTION, RUNS])
def test_an_account_is_granted_what_it_uses_and_nothing_else(platform, account):
    used = platform.done_by(account, platform.cluster.namespace)
    assert granted(account, ROLES) == used


@pytest.mark.parametrize("account", [GATEWAY, RUNS])
def test_an_account_is_granted_what_builds_need_and_nothing_else(platform, account):
    assert granted(account, ROLES_OF_BUILDS) == platform.done_by(account, BUILDS)


@pytest.mark.parametrize("account", [GATEWAY, DAEMON, COLLECTION, RUNS])
def test_the_doctor_asks_for_what_is_granted(account):
    looks, of_builds = LOOKS.get(account, ()), LOOKS_AT_BUILDS.get(account, ())
    assert known((*USES[account], *looks)) == granted(account, ROLES)
    built = (*USES_OF_BUILDS.get(account, ()), *of_builds)
    assert known(built) == granted(account, ROLES_OF_BUILDS)


@pytest.mark.parametrize(
    "kind", ["pods", "jobs", "deployments", "rayjobs", "statefulsets", "cronjobs", "secrets"]
)
def test_the_gateway_may_make_and_change_no_pod_and_read_no_secret(kind):
    verbs = {verb for verb, _, resource in granted(GATEWAY, ROLES) if resource == kind}
    assert verbs <= {"list", "delete"}
