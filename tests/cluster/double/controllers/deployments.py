"""Deployments and the ReplicaSets below them."""

import hashlib
import json
import math
import time
from collections.abc import Iterable

from tests.cluster.double.api.client import (
    Client,
    condition,
    has_condition,
    owner_reference,
    with_condition,
)
from tests.cluster.double.api.errors import ApiError
from tests.cluster.double.api.registry import random_suffix
from tests.cluster.double.api.resource_types import BY_KIND, Object
from tests.cluster.double.api.store import Change
from tests.cluster.double.controllers.controller import Controller, Key, key_of, owner_of

REVISION = "deployment.kubernetes.io/revision"
HASH = "pod-template-hash"
CREATE_RETRY_S = 0.2

_FINISHED = ("Succeeded", "Failed")


def _counts(**counts: int) -> Object:
    """Counts of a status, which leaves zeros out."""
    return {name: count for name, count in counts.items() if count}


def _owned(client: Client, kind: str, owner: Object) -> list[Object]:
    uid = owner["metadata"]["uid"]
    return [
        item
        for item in client.list(kind, owner["metadata"]["namespace"])
        if (owner_of(item, owner["kind"]) or {}).get("uid") == uid
    ]


class ReplicaSetController(Controller):
    """Keeps as many pods as a ReplicaSet asks for."""

    def keys(self, change: Change) -> Iterable[Key]:
        if change.resource.kind == "ReplicaSet":
            yield key_of(change.item)
        elif change.resource.kind == "Pod" and (owner := owner_of(change.item, "ReplicaSet")):
            yield change.item["metadata"]["namespace"], owner["name"]

    def reconcile(self, key: Key) -> None:
        namespace, name = key
        with self.api.store.lock:
            result = self.api.get("ReplicaSet", name, namespace)
            if result["metadata"].get("deletionTimestamp"):
                return
            pods = [
                pod
                for pod in _owned(self.api, "Pod", result)
                if not pod["metadata"].get("deletionTimestamp")
                and pod["status"].get("phase") not in _FINISHED
            ]
            failure = self._scale(result, pods)
            ready = sum(has_condition(pod, "Ready") for pod in pods)
            status = {
                "replicas": len(pods),
                "observedGeneration": result["metadata"]["generation"],
                **_counts(
                    fullyLabeledReplicas=len(pods), readyReplicas=ready, availableReplicas=ready
                ),
            }
            if failure:
                status["conditions"] = [failure]
            self.api.set_status("ReplicaSet", name, status, namespace)

    def _scale(self, replica_set: Object, pods: list[Object]) -> Object | None:
        wanted = replica_set["spec"].get("replicas", 1)
        pods.sort(key=lambda pod: not has_condition(pod, "Ready"))
        while len(pods) > wanted:
            namespace, name = key_of(pods.pop())
            self.api.delete("Pod", name, namespace)
        while len(pods) < wanted:
            try:
                pods.append(self.api.create(self._pod(replica_set)))
            except ApiError as error:
                message = f"Error creating: {error.message}"
                self.api.event(replica_set, "FailedCreate", message, True, "replicaset-controller")
                self.later(key_of(replica_set), CREATE_RETRY_S)
                now = self.api.store.timestamp()
                return condition("ReplicaFailure", True, "FailedCreate", error.message, now)
        return None

    def _pod(self, replica_set: Object) -> Object:
        template, meta = replica_set["spec"]["template"], replica_set["metadata"]
        own = template.get("metadata") or {}
        return {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": f"{meta['name']}-{random_suffix()}",
                "generateName": f"{meta['name']}-",
                "namespace": meta["namespace"],
                "labels": own.get("labels") or {},
                "annotations": own.get("annotations") or {},
                "ownerReferences": [owner_reference(replica_set)],
            },
            "spec": template["spec"],
        }


def _share(value: int | str, whole: int, up: bool) -> int:
    if isinstance(value, int):
        return value
    share = int(value.rstrip("%")) * whole / 100
    return math.ceil(share) if up else math.floor(share)


def _limits(deployment: Object) -> tuple[int, int]:
    """How many pods may be there too many, and too few, during an update."""
    rolling = deployment["spec"]["strategy"].get("rollingUpdate") or {}
    wanted = deployment["spec"].get("replicas", 1)
    surge = _share(rolling.get("maxSurge", "25%"), wanted, True)
    lacking = _share(rolling.get("maxUnavailable", "25%"), wanted, False)
    return surge, max(lacking, int(not surge))


def _available(replica_set: Object) -> int:
    return (replica_set.get("status") or {}).get("availableReplicas", 0)


class DeploymentController(Controller):
    """Moves a Deployment's pods to its newest template within its limits."""

    def __init__(self, api: Client):
        super().__init__(api)
        self._progress: dict[str, tuple[object, float]] = {}

    def keys(self, change: Change) -> Iterable[Key]:
        if change.resource.kind == "Deployment":
            yield key_of(change.item)
        elif change.resource.kind == "ReplicaSet":
            if owner := owner_of(change.item, "Deployment"):
                yield change.item["metadata"]["namespace"], owner["name"]
        elif change.resource.kind == "Pod" and change.kind == "DELETED":
            # A Recreate strategy waits for the last old pod.
            namespace = change.item["metadata"]["namespace"]
            for each in self.api.store.items(BY_KIND["Deployment"], namespace):
                yield key_of(each)

    def reconcile(self, key: Key) -> None:
        namespace, name = key
        with self.api.store.lock:
            deployment = self.api.get("Deployment", name, namespace)
            if deployment["metadata"].get("deletionTimestamp"):
                return
            sets = _owned(self.api, "ReplicaSet", deployment)
            new = self._newest(deployment, sets)
            old = [each for each in sets if each["metadata"]["uid"] != new["metadata"]["uid"]]
            if deployment["spec"]["strategy"].get("type") == "Recreate":
                self._recreate(deployment, new, old)
            else:
                self._roll(deployment, new, old)
            self._report(deployment, new, [new, *old])

    def _newest(self, deployment: Object, sets: list[Object]) -> Object:
        template, meta = deployment["spec"]["template"], deployment["metadata"]
        digest = hashlib.sha256(json.dumps(template, sort_keys=True).encode()).hexdigest()[:10]
        for each in sets:
            if each["metadata"]["labels"].get(HASH) == digest:
                return each
        revisions = [int(each["metadata"]["annotations"][REVISION]) for each in sets]
        revision = str(max(revisions, default=0) + 1)
        own = template.get("metadata") or {}
        labels = {**(own.get("labels") or {}), HASH: digest}
        matched = deployment["spec"]["selector"].get("matchLabels") or {}
        created = self.api.create(
            {
                "apiVersion": "apps/v1",
                "kind": "ReplicaSet",
                "metadata": {
                    "name": f"{meta['name']}-{digest}",
                    "namespace": meta["namespace"],
                    "labels": labels,
                    "annotations": {REVISION: revision},
                    "ownerReferences": [owner_reference(deployment)],
                },
                "spec": {
                    "replicas": 0,
                    "selector": {"matchLabels": {**matched, HASH: digest}},
                    "template": {**template, "metadata": {**own, "labels": labels}},
                },
            }
        )
        annotation = {"metadata": {"annotations": {REVISION: revision}}}
        self.api.patch("Deployment", meta["name"], annotation, meta["namespace"])
        return created

    def _scale(self, replica_set: Object, replicas: int) -> None:
        if replica_set["spec"]["replicas"] != replicas:
            replica_set["spec"]["replicas"] = replicas
            namespace, name = key_of(replica_set)
            self.api.patch("ReplicaSet", name, {"spec": {"replicas": replicas}}, namespace)

    def _recreate(self, deployment: Object, new: Object, old: list[Object]) -> None:
        for each in old:
            self._scale(each, 0)
        if not any(_owned(self.api, "Pod", each) for each in old):
            self._scale(new, deployment["spec"]["replicas"])

    def _roll(self, deployment: Object, new: Object, old: list[Object]) -> None:
        wanted = deployment["spec"]["replicas"]
        surge, lacking = _limits(deployment)
        total = sum(each["spec"]["replicas"] for each in [new, *old])
        have = new["spec"]["replicas"]
        self._scale(new, wanted if have > wanted else have + self._room(wanted, have, surge, total))
        have, least = new["spec"]["replicas"], wanted - lacking
        total = sum(each["spec"]["replicas"] for each in [new, *old])
        removable = total - least - max(have - _available(new), 0)
        spare = sum(map(_available, [new, *old])) - least
        for each in old:
            sick = max(each["spec"]["replicas"] - _available(each), 0)
            drop = min(sick, max(removable, 0))
            sound = min(each["spec"]["replicas"] - sick, max(spare, 0), max(removable - drop, 0))
            self._scale(each, each["spec"]["replicas"] - drop - sound)
            removable, spare = removable - drop - sound, spare - sound

    @staticmethod
    def _room(wanted: int, have: int, surge: int, total: int) -> int:
        return max(min(wanted - have, wanted + surge - total), 0)

    def _report(self, deployment: Object, new: Object, sets: list[Object]) -> None:
        namespace, name = key_of(deployment)
        sets = [self.api.get("ReplicaSet", *reversed(key_of(each))) for each in sets]
        new, wanted = sets[0], deployment["spec"]["replicas"]
        total = {
            field: sum((each.get("status") or {}).get(field, 0) for each in sets)
            for field in ("replicas", "readyReplicas", "availableReplicas")
        }
        updated = (new.get("status") or {}).get("replicas", 0)
        available = total["availableReplicas"]
        status: Object = {
            "observedGeneration": self.api.get("Deployment", name, namespace)["metadata"][
                "generation"
            ],
            **_counts(
                **total,
                updatedReplicas=updated,
                unavailableReplicas=max(wanted, total["replicas"]) - available,
            ),
        }
        enough = available >= wanted - (_limits(deployment)[1] if wanted else 0)
        reason = "MinimumReplicasAvailable" if enough else "MinimumReplicasUnavailable"
        created = condition("Available", enough, reason, "", self.api.store.timestamp())
        known = (deployment.get("status") or {}).get("conditions")
        complete = (updated, total["replicas"], available) == (wanted, wanted, wanted)
        progress = self._progressing(deployment, new, complete, (updated, sorted(total.items())))
        failures = (new.get("status") or {}).get("conditions") or []
        known = [each for each in known or () if each["type"] != "ReplicaFailure"] + failures
        status["conditions"] = with_condition(with_condition(known, created), progress)
        self.api.set_status("Deployment", name, status, namespace)

    def _progressing(
        self, deployment: Object, new: Object, complete: bool, signature: object
    ) -> Object:
        uid, title = deployment["metadata"]["uid"], new["metadata"]["name"]
        signature = (title, deployment["spec"]["replicas"], signature)
        seen, since = self._progress.get(uid, (None, 0.0))
        if seen != signature:
            seen, since = self._progress[uid] = signature, time.monotonic()
        known = (deployment.get("status") or {}).get("conditions") or ()
        before = next((each for each in known if each["type"] == "Progressing"), {})
        done = before.get("reason") == "NewReplicaSetAvailable" and title in before["message"]
        holds, reason, message = True, "ReplicaSetUpdated", f'ReplicaSet "{title}" is progressing.'
        if complete or done:
            reason = "NewReplicaSetAvailable"
            message = f'ReplicaSet "{title}" has successfully progressed.'
        else:
            left = since + deployment["spec"]["progressDeadlineSeconds"] - time.monotonic()
            if left <= 0:
                holds, reason = False, "ProgressDeadlineExceeded"
                message = f'ReplicaSet "{title}" has timed out progressing.'
            else:
                self.later(key_of(deployment), left)
        created = condition("Progressing", holds, reason, message, self.api.store.timestamp())
        if (before.get("reason"), before.get("message")) == (reason, message):
            return before
        return {**created, "lastUpdateTime": created["lastTransitionTime"]}
