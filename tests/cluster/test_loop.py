"""The loop turns on a cluster: run pods drive RayJobs, state is in PostgreSQL and a bucket."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import httpx
import pytest
import yaml
from dagster import DagsterInstance, DagsterRunStatus, RunsFilter

from engine.parent_death import die_with_parent
from resources.kubernetes_api.settings import ClusterSettings
from resources.settings import CHECKOUT, Settings
from tests.cluster.double.controllers.gateway_proxy import GatewayProxy
from tests.cluster.fixtures import ImagePlan, TestCluster, kubeconfig, real_cluster
from tests.cluster.real_cluster import (
    IS_REAL,
    Emptied,
    RealGateway,
    from_environment,
    image,
    needs_faults,
    variables_of_the_bucket,
)
from tests.control import new_database, postgresql_in
from tests.waiting import until

ACCOUNTS = CHECKOUT / "deploy" / "kubernetes" / "base" / "accounts.yaml"
PARTS = ("control", "training", "serving")
FLOWERS = CHECKOUT / "tests" / "data" / "flowers"
OVER = (DagsterRunStatus.SUCCESS, DagsterRunStatus.FAILURE, DagsterRunStatus.CANCELED)


@pytest.fixture(scope="module")
def cluster():
    """One cluster whose images of the platform are this checkout and this environment."""
    if IS_REAL:
        # Run pods are told to find the definitions where the daemon has them.
        place = os.environ.get("ORRERY_TEST_CHECKOUT", "/opt/orrery")
        if str(CHECKOUT) != place:
            pytest.skip(f"this checkout is not in {place}, where the images have theirs")
        with real_cluster() as created:
            created.require("kuberay")
            yield created
        return
    plan = ImagePlan(cwd=str(CHECKOUT), env={"HOME": os.environ.get("HOME", "/")})
    with TestCluster({"^orrery-": plan}) as created:
        yield created


@pytest.fixture(scope="module")
def shared_folder():
    """A folder that pods see under its own name: their /tmp is a volume of their own."""
    with tempfile.TemporaryDirectory(prefix="orrery-", dir="/var/tmp") as folder:
        yield Path(folder)


@pytest.fixture(scope="module")
def databases(shared_folder):
    if IS_REAL:
        yield from_environment("ORRERY_TEST_POSTGRESQL", "")
        return
    with postgresql_in(shared_folder / "pg") as url:
        yield url


@pytest.fixture(scope="module")
def gateway(cluster):
    """A gateway that carries traffic to the services of the cluster."""
    if IS_REAL:
        yield RealGateway()
        return
    cluster.api.create(
        {
            "apiVersion": "gateway.networking.k8s.io/v1",
            "kind": "Gateway",
            "metadata": {"name": "public", "namespace": cluster.namespace},
            "spec": {
                "gatewayClassName": "test",
                "listeners": [{"name": "http", "port": 80, "protocol": "HTTP"}],
            },
        }
    )
    with GatewayProxy(cluster) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def environment(cluster, gateway, databases, shared_folder, tmp_path_factory):
    """Environment of a daemon beside the cluster; run pods have the same from the ConfigMap."""
    with pytest.MonkeyPatch.context() as patch, Emptied(patch) as bucket:
        state = tmp_path_factory.mktemp("daemon") / "state"
        yield prepare(cluster, gateway, databases, bucket, shared_folder, state, patch)


def prepare(cluster, gateway, databases, bucket, shared_folder, state, patch):
    """The environment of this process, once everything that it names is there."""
    projects = shared_folder / "projects"
    shutil.copytree(FLOWERS, projects, dirs_exist_ok=True)
    answer = {
        "ORRERY_OBJECTS": bucket,
        "ORRERY_PROJECTS": str(projects),
        "ORRERY_DAGSTER_STORAGE": new_database(databases),
        "ORRERY_MLFLOW_URI": new_database(databases),
        "ORRERY_CLUSTER_NAMESPACE": cluster.namespace,
        "ORRERY_CLUSTER_KUBECONFIG": str(kubeconfig_of("orrery-daemon", cluster, shared_folder)),
        "ORRERY_CLUSTER_POLL_S": "0.2",
        "ORRERY_CLUSTER_GATEWAY": gateway.name if IS_REAL else f"{cluster.namespace}/public",
        "ORRERY_CLUSTER_SERVICES_URL": gateway.url,
        "DAGSTER_HOME": str(CHECKOUT),
        **{f"ORRERY_CLUSTER_{part.upper()}_IMAGE": image(part) for part in PARTS},
    }
    shared = answer | variables_of_the_bucket()
    for name, value in answer.items():
        patch.setenv(name, value)
    patch.setenv("ORRERY_STATE", str(state))
    pods = shared | {
        "ORRERY_STATE": "/var/lib/orrery",
        "ORRERY_CLUSTER_KUBECONFIG": str(kubeconfig_of("orrery-run", cluster, shared_folder)),
    }
    if IS_REAL:
        # Pods have the projects of their image, and a service account.
        pods |= {"ORRERY_PROJECTS": str(FLOWERS)}
        del pods["ORRERY_CLUSTER_KUBECONFIG"]
    for kind, name, data in (
        ("ConfigMap", "orrery-settings", pods),
        ("Secret", "orrery-secrets", {}),
        ("Secret", "orrery-engines", {}),
        ("Secret", "orrery-bucket", {}),
    ):
        key = "data" if kind == "ConfigMap" else "stringData"
        metadata = {"name": name, "namespace": cluster.namespace}
        cluster.api.create({"apiVersion": "v1", "kind": kind, "metadata": metadata, key: data})
    port = {"port": 80, "protocol": "TCP"}
    service = {"name": "orrery", "namespace": cluster.namespace}
    # Whose variables ORRERY_PORT and the like are no settings.
    cluster.api.create(
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": service,
            "spec": {"selector": {"app": "orrery"}, "ports": [port]},
        }
    )
    for thing in yaml.safe_load_all(ACCOUNTS.read_text()):
        # Kubernetes has made the account of this name.
        if thing["metadata"]["name"] != "default":
            cluster.api.create(thing, cluster.namespace)
    if not IS_REAL:
        # Who may not do what they do is refused from here on.
        cluster.api.act_as("test", has_roles=True)
    assert ClusterSettings().is_used
    return dict(os.environ)


def kubeconfig_of(account, cluster, folder):
    """A kubeconfig by which one is the account, where the double is asked."""
    file = folder / f"kubeconfig-{account}"
    if IS_REAL:
        shutil.copyfile(cluster.kubeconfig, file)
        return file
    file.write_text(kubeconfig(cluster.api.url, cluster.namespace, token=account))
    user = f"system:serviceaccount:{cluster.namespace}:{account}"
    cluster.api.endpoints.authorizer.users[account] = user
    return file


@pytest.fixture(scope="module")
def instance(environment):
    with DagsterInstance.from_config(str(CHECKOUT)) as instance:
        yield instance


@pytest.fixture(scope="module", autouse=True)
def daemon(environment, instance, tmp_path_factory):
    """The Dagster daemon: it launches what is queued, and watches over it."""
    argv = [sys.executable, "-m", "resources.orchestration.daemon", "run"]
    log = tmp_path_factory.mktemp("daemon") / "daemon.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            argv,
            cwd=CHECKOUT,
            env=environment,
            stdout=output,
            stderr=output,
            preexec_fn=die_with_parent,
        )
    yield log
    process.send_signal(signal.SIGINT)
    process.wait(30)


def launch(job, environment):
    argv = [sys.executable, "-m", "dagster", "job", "launch", "-w", "workspace.yaml", "-j", job]
    subprocess.run(argv, cwd=CHECKOUT, env=environment, check=True, capture_output=True)


def newest(instance):
    return next(iter(instance.get_runs(RunsFilter(), limit=1)), None)


def ended(instance):
    """The newest dagster_run, once it is over."""

    def over():
        run = newest(instance)
        return run if run and run.status in OVER else None

    return until(over)


def log_of(instance, run):
    """What its log and its failed steps say."""
    events = instance.all_logs(run.run_id)
    failed = [e.dagster_event.step_failure_data for e in events if e.step_key and is_failure(e)]
    said = [str(e.message or e.user_message) for e in events]
    return "\n".join([*said, *(f.error_display_string for f in failed)])[-6000:]


def is_failure(entry):
    return entry.dagster_event is not None and entry.dagster_event.is_step_failure


def running_engine(cluster):
    return until(
        lambda: [
            pod
            for pod in cluster.api.list("Pod", cluster.namespace, "ray.io/node-type=head")
            if pod["status"].get("phase") == "Running"
        ],
        100,
    )


def created_ray_jobs(cluster):
    requests = cluster.api.requests
    return [r for r in requests if r[0] == "POST" and r[1].endswith("/rayjobs")]


def test_a_turn_of_the_loop_ends_with_a_service_at_the_gateway(
    cluster, environment, gateway, instance
):
    file = Path(environment["ORRERY_PROJECTS"], "flowers.yaml")
    text = file.read_text()
    if not IS_REAL:
        file.write_text(text.replace("    label: target\n", "    label: target\n    memory: 3Gi\n"))
    launch("turn_flowers", environment)

    run = ended(instance)

    file.write_text(text)
    assert run.status == DagsterRunStatus.SUCCESS, log_of(instance, run)
    answer = httpx.post(
        f"{gateway.url}/flowers.classifier-api/predict", json={"inputs": [[5.1, 3.5, 1.4, 0.2]]}
    )
    assert answer.json()["predictions"] == ["0"]
    assert cluster.api.list("RayJob", cluster.namespace) == []
    if not IS_REAL:
        assert_read_in_a_pod_of(cluster, "3Gi")
    assert_each_acted_as_its_account(cluster)
    # Nobody but a gateway opens the control database.
    assert not Path(environment["ORRERY_STATE"], "control.db").exists()


def assert_each_acted_as_its_account(cluster):
    """What was done is known to the API server as done by the account that does it."""
    if IS_REAL:
        return
    audit = cluster.api.endpoints.authorizer.audit
    done = {(each.user.rpartition(":")[2], each.verb, each.resource) for each in audit}
    assert {("orrery-daemon", "create", "jobs"), ("orrery-run", "create", "rayjobs")} <= done


def assert_read_in_a_pod_of(cluster, memory):
    """A dataset that declares its memory is read in a pod that has it."""
    steps = cluster.api.list("Job", cluster.namespace, "dagster/op=flowers__dataset__iris")
    container = steps[0]["spec"]["template"]["spec"]["containers"][0]
    assert container["resources"]["limits"] == {"memory": memory}


@needs_faults
def test_a_killed_run_pod_is_succeeded_by_one_that_adopts_its_job(cluster, environment, instance):
    before = len(created_ray_jobs(cluster))
    launch("train_flowers", environment)
    running_engine(cluster)
    first = newest(instance)
    uid = cluster.api.list("RayJob", cluster.namespace)[0]["metadata"]["uid"]
    pod = cluster.api.list("Pod", cluster.namespace, f"dagster/run-id={first.run_id}")[0]

    for pid in cluster.kubelet.pids(pod["metadata"]["name"]):
        os.kill(pid, signal.SIGKILL)

    retry = until(lambda: (r := newest(instance)) and r.run_id != first.run_id and r, 100)
    run = ended(instance)
    assert run.status == DagsterRunStatus.SUCCESS, log_of(instance, run)
    assert retry.parent_run_id == first.run_id
    created = len(created_ray_jobs(cluster)) - before
    assert created == 1 + len(cluster.api.list("RayJob", cluster.namespace)), uid


@needs_faults
def test_a_dagster_run_outlives_an_api_server_that_is_away(cluster, environment, instance):
    before = len(created_ray_jobs(cluster))
    cluster.api.leave(hanging=False)
    try:
        launch("train_flowers", environment)
        run = newest(instance)
        until(lambda: "the dagster_run waits for the Kubernetes API" in log_of(instance, run))
        cluster.api.heal()
        running_engine(cluster)
        cluster.api.leave(hanging=True)
        until(lambda: "the Kubernetes API does not answer; the job" in log_of(instance, run), 120)
    finally:
        cluster.api.heal()

    assert ended(instance).status == DagsterRunStatus.SUCCESS, log_of(instance, run)
    assert ended(instance).run_id == run.run_id
    assert len(created_ray_jobs(cluster)) == before + 1
    until(lambda: cluster.api.list("RayJob", cluster.namespace) == [], 120)


def test_a_cancelled_dagster_run_leaves_nothing_on_the_cluster(cluster, environment, instance):
    launch("train_flowers", environment)
    running_engine(cluster)
    run = newest(instance)

    instance.run_launcher.terminate(run.run_id)

    assert ended(instance).status == DagsterRunStatus.CANCELED
    until(lambda: cluster.api.list("RayJob", cluster.namespace) == [], 60)
    of_this_run = f"dagster/run-id={run.run_id}"
    until(lambda: cluster.api.list("Pod", cluster.namespace, of_this_run) == [], 60)
    assert Settings().state
