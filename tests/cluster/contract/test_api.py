"""What clients may expect of the API server."""

import os
import threading

import pytest
from kubernetes import client, watch
from kubernetes.client import ApiException

from tests.cluster.kube import SLEEP, Kube, config_map, deployment, job, pod, ray_job
from tests.waiting import until

needs_schemas = pytest.mark.skipif(
    "ORRERY_CRD_SCHEMAS" not in os.environ, reason="ORRERY_CRD_SCHEMAS names no schemas"
)


def refusal(code: int, call, *arguments, **options) -> str:
    """Body of the refusal with this code."""
    with pytest.raises(ApiException) as caught:
        call(*arguments, **options)
    assert caught.value.status == code, caught.value.body
    return str(caught.value.body)


def create_map(kube: Kube, name: str, labels: dict | None = None, **data: str):
    return kube.core.create_namespaced_config_map(kube.namespace, config_map(name, data, labels))


def names(listing) -> list[str]:
    return [item.metadata.name for item in listing.items if item.metadata.name.startswith("m-")]


def test_an_object_is_created_read_replaced_and_deleted(kube: Kube):
    created = create_map(kube, "m-a", key="one")
    assert created.metadata.uid and created.metadata.creation_timestamp
    created.data = {"key": "two"}
    kube.core.replace_namespaced_config_map("m-a", kube.namespace, created)
    assert kube.core.read_namespaced_config_map("m-a", kube.namespace).data == {"key": "two"}
    kube.core.delete_namespaced_config_map("m-a", kube.namespace)
    body = refusal(404, kube.core.read_namespaced_config_map, "m-a", kube.namespace)
    assert '"reason":"NotFound"' in body.replace(" ", "")


def test_a_name_is_taken_once(kube: Kube):
    create_map(kube, "m-a")
    assert "AlreadyExists" in refusal(409, create_map, kube, "m-a")


def test_a_name_is_generated(kube: Kube):
    body = {"metadata": {"generateName": "m-"}}
    created = kube.core.create_namespaced_config_map(kube.namespace, body)
    assert len(created.metadata.name) == len("m-") + 5


def test_a_stale_replacement_conflicts(kube: Kube):
    first = create_map(kube, "m-a", key="one")
    fresh = config_map("m-a", {"key": "two"})
    kube.core.replace_namespaced_config_map("m-a", kube.namespace, fresh)
    first.data = {"key": "three"}
    replace = kube.core.replace_namespaced_config_map
    assert "Conflict" in refusal(409, replace, "m-a", kube.namespace, first)


def test_nothing_is_created_in_a_missing_namespace(kube: Kube):
    refusal(404, kube.core.create_namespaced_config_map, "missing", config_map("m-a", {}))


@pytest.mark.parametrize(
    ("selector", "selected"),
    [
        ("tier=gold", ["m-a"]),
        ("tier!=gold", ["m-b", "m-c"]),
        ("tier in (gold, iron)", ["m-a", "m-b"]),
        ("tier notin (gold),tier", ["m-b"]),
        ("!tier", ["m-c"]),
        ("tier", ["m-a", "m-b"]),
    ],
)
def test_labels_select(kube: Kube, selector: str, selected: list[str]):
    for name, labels in (("m-a", {"tier": "gold"}), ("m-b", {"tier": "iron"}), ("m-c", {})):
        create_map(kube, name, labels)
    listed = kube.core.list_namespaced_config_map(kube.namespace, label_selector=selector)
    assert names(listed) == selected


def test_fields_select(kube: Kube):
    for name in ("m-a", "m-b"):
        create_map(kube, name)
    fields = "metadata.name=m-b"
    listed = kube.core.list_config_map_for_all_namespaces(
        field_selector=f"{fields},metadata.namespace={kube.namespace}"
    )
    assert names(listed) == ["m-b"]


def test_a_list_comes_in_pages(kube: Kube):
    for number in range(5):
        create_map(kube, f"m-{number}", {"paged": "yes"})
    results, token = [], None
    while token != "":
        page = kube.core.list_namespaced_config_map(
            kube.namespace, limit=2, _continue=token, label_selector="paged"
        )
        results.append(names(page))
        token = page.metadata._continue or ""
    assert results == [["m-0", "m-1"], ["m-2", "m-3"], ["m-4"]]


def test_a_collection_is_deleted(kube: Kube):
    create_map(kube, "m-a", {"doomed": "yes"})
    create_map(kube, "m-b")
    kube.core.delete_collection_namespaced_config_map(kube.namespace, label_selector="doomed")
    assert names(kube.core.list_namespaced_config_map(kube.namespace)) == ["m-b"]


def test_a_watch_resumes_where_the_list_ended(kube: Kube):
    listed = kube.core.list_namespaced_config_map(kube.namespace)
    created = create_map(kube, "m-a")
    kube.core.patch_namespaced_config_map("m-a", kube.namespace, {"data": {"x": "1"}})
    kube.core.delete_namespaced_config_map("m-a", kube.namespace)
    stream = watch.Watch().stream(
        kube.core.list_namespaced_config_map,
        kube.namespace,
        resource_version=listed.metadata.resource_version,
        field_selector="metadata.name=m-a",
        timeout_seconds=1,
    )
    seen = [(event["type"], event["object"].metadata.uid) for event in stream]
    uid = created.metadata.uid
    assert seen == [("ADDED", uid), ("MODIFIED", uid), ("DELETED", uid)]


def test_leaving_a_selection_looks_like_a_deletion(kube: Kube):
    created = create_map(kube, "m-a", {"in": "yes"})
    kube.core.patch_namespaced_config_map(
        "m-a", kube.namespace, {"metadata": {"labels": {"in": None}}}
    )
    stream = watch.Watch().stream(
        kube.core.list_namespaced_config_map,
        kube.namespace,
        label_selector="in",
        resource_version=created.metadata.resource_version,
        timeout_seconds=1,
    )
    assert [event["type"] for event in stream] == ["DELETED"]


def test_a_watch_from_a_forgotten_revision_is_gone(kube: Kube):
    kube.cluster.require("faults")
    old = create_map(kube, "m-a").metadata.resource_version
    kube.cluster.api.compact()
    with pytest.raises(ApiException) as caught:
        list(
            watch.Watch().stream(
                kube.core.list_namespaced_config_map, kube.namespace, resource_version=old
            )
        )
    assert caught.value.status == 410


def test_a_merge_deletes_by_null(kube: Kube):
    create_map(kube, "m-a", a="1", b="2")
    merged = kube.core.patch_namespaced_config_map(
        "m-a", kube.namespace, {"data": {"a": None, "c": "3"}}
    )
    assert merged.data == {"b": "2", "c": "3"}


def test_a_json_patch_tests_before_it_writes(kube: Kube):
    create_map(kube, "m-a", a="1")
    operations = [
        {"op": "test", "path": "/data/a", "value": "1"},
        {"op": "replace", "path": "/data/a", "value": "2"},
    ]
    patch = kube.core.patch_namespaced_config_map
    assert patch("m-a", kube.namespace, operations).data == {"a": "2"}
    refusal(422, patch, "m-a", kube.namespace, operations)


def test_a_strategic_merge_finds_containers_by_name(kube: Kube):
    kube.apps.create_namespaced_deployment(kube.namespace, deployment("web", SLEEP, replicas=0))
    change = [{"name": "main", "env": [{"name": "A", "value": "1"}]}]
    spec = {"template": {"spec": {"containers": change}}}
    result = kube.apps.patch_namespaced_deployment(
        "web",
        kube.namespace,
        {"spec": spec},
        _content_type="application/strategic-merge-patch+json",
    )
    (container,) = result.spec.template.spec.containers
    assert (container.env[0].name, container.command[0]) == ("A", "python")


def test_server_side_apply_creates_merges_and_takes_back(kube: Kube):
    def apply(data: dict) -> dict:
        return kube.core.patch_namespaced_config_map(
            "m-a",
            kube.namespace,
            config_map("m-a", data),
            field_manager="orrery",
            force=True,
            _content_type="application/apply-patch+yaml",
        ).data

    assert apply({"a": "1", "b": "2"}) == {"a": "1", "b": "2"}
    kube.core.patch_namespaced_config_map("m-a", kube.namespace, {"data": {"other": "3"}})
    assert apply({"a": "4"}) == {"a": "4", "other": "3"}


def test_a_dry_run_leaves_nothing(kube: Kube):
    body = config_map("m-a", {})
    created = kube.core.create_namespaced_config_map(kube.namespace, body, dry_run="All")
    assert created.metadata.name == "m-a"
    refusal(404, kube.core.read_namespaced_config_map, "m-a", kube.namespace)


def test_an_unknown_field_is_refused(kube: Kube):
    body = pod("p", SLEEP, imagePullPolice="Always")
    create = kube.core.create_namespaced_pod
    with pytest.raises(ApiException) as caught:
        create(kube.namespace, body, field_validation="Strict")
    assert caught.value.status in (400, 422)
    assert "imagePullPolice" in caught.value.body


def test_a_wrong_name_is_refused_with_its_cause(kube: Kube):
    body = refusal(422, create_map, kube, "Not_A_Name")
    assert "metadata.name" in body and "causes" in body


@needs_schemas
def test_a_custom_resource_breaking_its_schema_is_refused(kube: Kube):
    kube.cluster.require("kuberay")
    body = ray_job("r", "pass", backoffLimit="many")
    kind = {"group": "ray.io", "version": "v1", "plural": "rayjobs", "namespace": kube.namespace}
    answer = refusal(422, kube.custom.create_namespaced_custom_object, body=body, **kind)
    assert "spec.backoffLimit" in answer


def test_a_finalizer_holds_an_object(kube: Kube):
    body = config_map("m-a", {})
    body["metadata"]["finalizers"] = ["orrery.test/hold"]
    kube.core.create_namespaced_config_map(kube.namespace, body)
    kube.core.delete_namespaced_config_map("m-a", kube.namespace)
    held = kube.core.read_namespaced_config_map("m-a", kube.namespace)
    assert held.metadata.deletion_timestamp
    kube.core.patch_namespaced_config_map(
        "m-a", kube.namespace, [{"op": "remove", "path": "/metadata/finalizers"}]
    )
    refusal(404, kube.core.read_namespaced_config_map, "m-a", kube.namespace)


def test_a_status_is_written_by_its_subresource_alone(kube: Kube):
    created = kube.create_job("j", SLEEP, suspend=True)
    assert created.metadata.generation == 1
    patched = kube.batch.patch_namespaced_job("j", kube.namespace, {"status": {"succeeded": 7}})
    assert patched.status.succeeded is None
    annotated = {"metadata": {"annotations": {"a": "b"}}}
    assert kube.batch.patch_namespaced_job("j", kube.namespace, annotated).metadata.generation == 1


def test_a_job_template_cannot_change(kube: Kube):
    kube.create_job("j", SLEEP)
    changed = kube.batch.read_namespaced_job("j", kube.namespace)
    changed.spec.template.spec.containers[0].command = ["python"]
    until(lambda: kube.job("j").status.start_time)
    body = job("j", "pass")["spec"]["template"]
    patch = kube.batch.patch_namespaced_job
    refusal(422, patch, "j", kube.namespace, {"spec": {"template": body}})


def test_dependents_go_with_their_owner(kube: Kube):
    owner = create_map(kube, "m-owner")
    body = config_map("m-child", {})
    reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": "m-owner"}
    body["metadata"]["ownerReferences"] = [{**reference, "uid": owner.metadata.uid}]
    kube.core.create_namespaced_config_map(kube.namespace, body)
    kube.core.delete_namespaced_config_map("m-owner", kube.namespace)
    until(lambda: not names(kube.core.list_namespaced_config_map(kube.namespace)))


def test_a_deletion_may_orphan(kube: Kube):
    kube.create_job("j", SLEEP)
    until(lambda: kube.pods("job-name=j"))
    kube.batch.delete_namespaced_job("j", kube.namespace, propagation_policy="Orphan")
    until(lambda: not kube.pods("job-name=j")[0].metadata.owner_references)


def test_a_foreground_deletion_waits_for_the_dependents(kube: Kube):
    kube.create_job("j", SLEEP)
    until(lambda: kube.pods("job-name=j"))
    kube.batch.delete_namespaced_job("j", kube.namespace, propagation_policy="Foreground")
    until(lambda: not kube.batch.list_namespaced_job(kube.namespace).items)
    assert not kube.pods("job-name=j")


def test_a_followed_collection_tells_of_what_comes(kube: Kube):
    follower = watch.Watch()
    timer = threading.Timer(0.1, create_map, [kube, "m-later"])
    timer.start()
    listing = kube.core.list_namespaced_config_map
    for event in follower.stream(listing, kube.namespace, timeout_seconds=30):
        if event["object"].metadata.name == "m-later":
            follower.stop()
    timer.join()


def test_an_access_review_allows(kube: Kube):
    attributes = {"verb": "create", "resource": "pods", "namespace": kube.namespace}
    body = client.V1SelfSubjectAccessReview(spec={"resourceAttributes": attributes})
    api = client.AuthorizationV1Api(kube.client)
    assert api.create_self_subject_access_review(body).status.allowed
