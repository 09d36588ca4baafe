"""The objects of services, builds and jobs are such as a real cluster takes, and safe."""

import json
from pathlib import Path

import pytest

from resources.compute.rayjob.manifest import ray_job
from resources.compute.requirements import Requirements
from resources.kubernetes_api.pod_template import AUTHORITIES_MOUNT, AUTHORITIES_VOLUME
from resources.kubernetes_api.settings import ClusterSettings
from resources.services.cluster.image_builder import Build, build_job
from resources.services.cluster.manifests import entrance, objects_of, route
from resources.services.cluster.version import Version, object_name
from serving.contract import Deployment, RequestLogPlan
from tests.deploy import manifests

SERVICE = "a-team-with-a-long-name.reader-that-answers-questions-api"
PLAIN = ClusterSettings(namespace="orrery", gateway="infra/public")
RICH = PLAIN.model_copy(
    update={
        "registry": "registry.example/models",
        "image_pull_secrets": "pulling,more",
        "autoscaler": "keda",
        "prometheus_url": "http://prometheus:9090",
        "services_host": "models.example",
        "spread_zones": True,
        "queue": "training",
    }
)
NEEDS = Requirements(
    workers=3,
    min_workers=2,
    cpus_per_worker=2,
    gpus_per_worker=1,
    memory="4Gi",
    env_vars={"COLOR": "red"},
    node_selector={"disk": "fast"},
    tolerations=[{"key": "reserved", "operator": "Exists"}],
    priority="high",
)
LOG = RequestLogPlan(folder=Path("/requests"), sample=0.5, megabytes=8)


def version(service=SERVICE, requirements=NEEDS, is_built_in=False, **deployment) -> Version:
    body = {
        "service": service,
        "version": "v1234-0123456789ab",
        "model_version": 1234,
        "artefact_digest": "0" * 64,
        "bento": Path("/bento"),
        "bento_home": Path("/home"),
        "replicas": 1,
        "most_replicas": 3,
        "canary": [100],
        "step_s": 1,
        "request_log": LOG,
    }
    return Version(
        deployment=Deployment(**body | deployment),
        requirements=requirements,
        mark="0123456789abcdef",
        bento_uri="s3://bucket/bento.tar",
        bento_digest="0" * 64,
        requests_uri="s3://bucket/requests",
        image="orrery-serving",
        is_built_in=is_built_in,
    )


def everything(cluster=PLAIN, **how):
    """Every object that a service with these settings is made of, and the jobs beside it."""
    created = version(**how)
    weights = {created.name: 10, "other": 90}
    variables = {"AWS_ENDPOINT_URL": "https://store.example"}
    build = Build("registry.example/m:v1", "s3://b/x.tar", "0" * 64, "orrery-serving", variables)
    return (
        *objects_of(created, cluster),
        entrance(created, cluster, {"orrery/state": "serving"}),
        route(created.deployment.service, weights, cluster),
        build_job(build, cluster),
        *(
            ray_job(
                "0123456789abcdef0123", "training.main", "s3://b/j", "run", requirements, cluster
            )
            for requirements in (created.requirements, Requirements())
        ),
    )


SHAPES = {
    "plain": everything(requirements=Requirements(), most_replicas=1, request_log=None),
    "scaled": everything(),
    "keda": everything(RICH),
    "built in": everything(RICH, is_built_in=True),
}
EACH = [
    pytest.param(thing, id=f"{shape}-{thing['kind']}-{place}")
    for shape, things in SHAPES.items()
    for place, thing in enumerate(things)
]


def templates(thing):
    """Templates of the pods that the object makes."""
    if thing["kind"] == "RayJob":
        groups = thing["spec"]["rayClusterSpec"]
        yield groups["headGroupSpec"]["template"]
        yield from (group["template"] for group in groups.get("workerGroupSpecs", ()))
    elif thing["kind"] in manifests.CONTROLLERS:
        yield thing["spec"]["template"]


CONTAINERS = [
    pytest.param(container, template["spec"], id=f"{shape}-{thing['kind']}-{container['name']}")
    for shape, things in SHAPES.items()
    for thing in things
    for template in templates(thing)
    for container in manifests.containers(template)
]


def deployment(**how):
    return objects_of(version(**how), PLAIN)[0]


def pod(**how):
    return deployment(**how)["spec"]["template"]["spec"]


@pytest.mark.parametrize("thing", EACH)
def test_every_object_is_valid(thing):
    manifests.check(thing)
    assert len(thing["metadata"]["name"]) <= 63
    assert thing["metadata"]["namespace"] == "orrery"


@pytest.mark.skipif(not manifests.has_crd_schemas(), reason="ORRERY_CRD_SCHEMAS names no folder")
def test_the_schemas_of_other_projects_refuse_what_they_do_not_know():
    thing = route("a.b", {"a": 100}, PLAIN)
    thing["spec"]["rules"][0]["backend"] = []

    with pytest.raises(Exception, match="backend"):
        manifests.check(thing)


def test_services_of_alike_names_have_names_of_their_own():
    names = {object_name(service) for service in ("a-b.c", "a.b-c", "a.b.c", "A.b-c")}

    assert len(names) == 4


@pytest.mark.parametrize(("container", "spec"), CONTAINERS)
def test_every_container_is_bounded_and_without_rights(container, spec):
    assert set(container["resources"]["limits"]) >= {"memory"}
    assert set(container["resources"]["requests"]) >= {"cpu", "memory"}
    assert spec["automountServiceAccountToken"] is False
    assert spec["securityContext"]["runAsNonRoot"] is True
    rights = container["securityContext"]
    if container["name"] == "build":
        assert rights["runAsUser"] == 1000
        return
    assert rights["readOnlyRootFilesystem"] is True
    assert rights["allowPrivilegeEscalation"] is False
    assert rights["capabilities"] == {"drop": ["ALL"]}


@pytest.mark.parametrize(("container", "spec"), CONTAINERS)
def test_every_mount_has_its_volume(container, spec):
    mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}

    assert set(mounts) <= {volume["name"] for volume in spec["volumes"]}


@pytest.mark.parametrize(("container", "spec"), CONTAINERS)
def test_every_container_knows_private_authorities(container, spec):
    assert AUTHORITIES_MOUNT in container["volumeMounts"]
    assert AUTHORITIES_VOLUME in spec["volumes"]


def test_no_mount_hides_the_bento_of_an_image():
    (answering,) = pod(is_built_in=True)["containers"]

    _, program, _ = answering["command"]
    assert not program.startswith(tuple(f"{m['mountPath']}/" for m in answering["volumeMounts"]))


def test_the_answering_container_is_probed_and_drained():
    (answering,) = pod()["containers"]

    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert answering[probe]["httpGet"]["port"] == answering["ports"][0]["name"]
    assert (
        answering["lifecycle"]["preStop"]["sleep"]["seconds"]
        < pod()["terminationGracePeriodSeconds"]
    )


def test_the_answering_container_has_no_secret_and_those_beside_it_only_the_bucket():
    spec = pod()

    assert "secretRef" not in json.dumps(spec["containers"])
    for beside in spec["initContainers"]:
        assert {"secretRef": {"name": "orrery-bucket"}} in beside["envFrom"]
        assert "orrery-secrets" not in json.dumps(beside)


def test_the_builder_has_no_secret_at_all():
    job = SHAPES["plain"][-3]
    (building,) = job["spec"]["template"]["spec"]["containers"]

    assert "envFrom" not in building


def test_the_request_log_is_shipped_by_a_sidecar_that_ends_last():
    fetching, upload = pod()["initContainers"]

    assert "restartPolicy" not in fetching
    assert upload["restartPolicy"] == "Always"


def test_a_version_is_placed_where_it_was_declared():
    spec = pod()

    assert spec["nodeSelector"] == {"disk": "fast"}
    assert spec["tolerations"] == [{"key": "reserved", "operator": "Exists"}]
    assert {"name": "COLOR", "value": "red"} in spec["containers"][0]["env"]


def test_labels_select_the_pods_of_the_version_alone():
    created = deployment()

    selector = created["spec"]["selector"]["matchLabels"]
    assert selector.items() <= created["spec"]["template"]["metadata"]["labels"].items()
    assert selector != deployment(version="v2-0123456789ab")["spec"]["selector"]["matchLabels"]


@pytest.mark.parametrize(("replicas", "most", "share"), [(4, 4, "2"), (1, 8, "1")])
def test_each_replica_keeps_its_share_of_the_request_log(replicas, most, share):
    (answering,) = pod(replicas=replicas, most_replicas=most)["containers"]

    assert {"name": "REQUEST_LOG_MEGABYTES", "value": share} in answering["env"]


def test_the_request_log_in_the_bucket_is_bounded_as_it_is_declared():
    (_, upload) = pod()["initContainers"]

    assert upload["command"][-1] == str(LOG.megabytes)


def test_keda_counts_the_requests_of_this_version_in_this_namespace_alone():
    (scaled,) = [thing for thing in everything(RICH) if thing["kind"] == "ScaledObject"]

    query = scaled["spec"]["triggers"][0]["metadata"]["query"]
    metadata = scaled["metadata"]
    assert f'namespace="{metadata["namespace"]}"' in query
    assert f'pod=~"{metadata["name"]}-.*"' in query


@pytest.mark.parametrize(("cpus", "busy"), [(0.1, "700m"), (2, "1400m")])
def test_a_replica_is_busy_by_the_processors_that_it_may_use(cpus, busy):
    needs = Requirements(cpus_per_worker=cpus, memory="160Mi", memory_limit="1024Mi")
    objects = {each["kind"]: each for each in objects_of(version(requirements=needs), PLAIN)}

    (metric,) = objects["HorizontalPodAutoscaler"]["spec"]["metrics"]
    target = {"type": "AverageValue", "averageValue": busy}
    assert metric["resource"] == {"name": "cpu", "target": target}
    (replica,) = objects["Deployment"]["spec"]["template"]["spec"]["containers"]
    asked = {"cpu": f"{cpus:g}", "memory": "160Mi"}
    assert replica["resources"] == {"requests": asked, "limits": {"memory": "1024Mi"}}


def test_where_limits_of_processors_are_demanded_every_container_has_one():
    limited = RICH.model_copy(update={"cpu_limits": True})
    containers = [
        container
        for thing in everything(limited)
        for template in templates(thing)
        for container in manifests.containers(template)
    ]
    assert len(containers) >= 5
    for container in containers:
        limits, requests = container["resources"]["limits"], container["resources"]["requests"]
        assert float(limits["cpu"]) >= max(1, float(requests["cpu"])), container["name"]
