"""The verbs of the Kubernetes API over the registry."""

import base64
import json
import time
from collections.abc import Callable, Iterator
from typing import Any

from tests.cluster.double.api import discovery, patches
from tests.cluster.double.api.authorization import REVIEWS, Authorizer
from tests.cluster.double.api.client import has_condition
from tests.cluster.double.api.errors import ApiError
from tests.cluster.double.api.faults import Faults
from tests.cluster.double.api.registry import Registry
from tests.cluster.double.api.requests import Answer, Request, Stream, Target, target
from tests.cluster.double.api.resource_types import BY_KIND, Object, converted
from tests.cluster.double.api.selectors import Test, field_selector, label_selector
from tests.cluster.double.api.store import parse_time
from tests.cluster.double.api.watches import Watch, gone
from tests.cluster.double.nodes.container_logs import ContainerLog

LogSource = Callable[[str, str, str | None, bool], ContainerLog]


class Endpoints:
    """Answers requests about resources."""

    def __init__(self, registry: Registry, faults: Faults):
        self.registry = registry
        self.authorizer = Authorizer(registry.store, faults)
        self.log_source: LogSource | None = None
        self._applied: dict[tuple[Any, ...], Object] = {}

    def answer(self, request: Request) -> Answer:
        """The answer to a request below /api or /apis."""
        group, *rest = request.path[1:] if request.path[0] == "apis" else ["", *request.path[1:]]
        if len(rest) > 1 and rest[-1] in REVIEWS:
            return self.authorizer.review(request)
        if len(rest) > 1 and (group, rest[1]) == (discovery.CRD_GROUP, discovery.CRD_PLURAL):
            return 200, discovery.definitions(rest[2:])
        if len(rest) <= 1:
            return 200, self._discovered(group, *rest)
        if (result := target(request.path)) is None:
            raise ApiError(404, "the server could not find the requested resource")
        self._authorize(request, result)
        if result.name:
            return self._one(request, result)
        return self._collection(request, result)

    def _discovered(self, group: str, version: str = "") -> Object:
        """What an API has; for one of another server as long as that is said to answer."""
        name = f"{version}.{group}"
        service = self.registry.store.read(BY_KIND["APIService"], "", name)
        if service is None:
            return discovery.discover(group, version)
        if not has_condition(service, "Available"):
            raise ApiError(503, "service unavailable")
        return discovery.of_another_server(group, version)

    def _authorize(self, request: Request, target: Target) -> None:
        verb = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}.get(
            request.method, "get"
        )
        if not target.name:
            verb = {"get": "list", "delete": "deletecollection"}.get(verb, verb)
        if verb == "list" and request.flag("watch"):
            verb = "watch"
        resource = "/".join(filter(None, (target.resource.plural, target.subresource)))
        # A namespace itself is judged within it.
        is_namespace = target.resource.kind == "Namespace"
        namespace = target.name if is_namespace else target.namespace
        self.authorizer.require(verb, target.resource.group, resource, namespace, target.name)

    def _selection(self, request: Request) -> Test:
        labels = label_selector(request.query.get("labelSelector"))
        fields = field_selector(request.query.get("fieldSelector"))
        return lambda item: labels(item) and fields(item)

    def _collection(self, request: Request, target: Target) -> Answer:
        resource, version = target.resource, target.version
        match request.method:
            case "GET" if request.flag("watch"):
                return self._watch(request, target)
            case "GET":
                return 200, self._list(request, target)
            case "POST":
                item = self._document(request, target)
                dry_run = request.query.get("dryRun") == "All"
                created = self.registry.create(resource, target.namespace, item, dry_run)
                return 201, converted(resource, created, version)
            case "DELETE":
                listed = self._list(request, target)
                for item in listed["items"]:
                    meta = item["metadata"]
                    self._delete(request, target, meta["name"], meta.get("namespace", ""))
                return 200, listed
        raise ApiError(405, "the server does not allow this method on the requested resource")

    def _document(self, request: Request, target: Target) -> Object:
        item = request.document()
        if not isinstance(item, dict):
            raise ApiError(400, "the body of the request is not an object")
        answer = (item.get("apiVersion"), item.get("kind"))
        served = (target.resource.at(target.version), target.resource.kind)
        if any(answer) and answer != served:
            raise ApiError(400, f"{answer} does not match the expected {served}")
        return item

    def _list(self, request: Request, target: Target) -> Object:
        resource, store, test = target.resource, self.registry.store, self._selection(request)
        with store.lock:
            revision = store.revision
            items = [item for item in store.items(resource, target.namespace) if test(item)]
            compacted = store.compacted
        meta: Object = {"resourceVersion": str(revision)}
        if token := request.query.get("continue"):
            revision, after = json.loads(base64.urlsafe_b64decode(token))
            if revision < compacted:
                raise gone(str(revision))
            meta["resourceVersion"] = str(revision)
            items = [item for item in items if self._place(item) > after]
        limit = int(request.query.get("limit") or 0)
        if limit and len(items) > limit:
            meta["remainingItemCount"] = len(items) - limit
            items = items[:limit]
            state = json.dumps([revision, self._place(items[-1])]).encode()
            meta["continue"] = base64.urlsafe_b64encode(state).decode()
        return {
            "kind": f"{resource.kind}List",
            "apiVersion": resource.at(target.version),
            "metadata": meta,
            "items": [converted(resource, item, target.version) for item in items],
        }

    @staticmethod
    def _place(item: Object) -> list[str]:
        return [item["metadata"].get("namespace", ""), item["metadata"]["name"]]

    def _watch(self, request: Request, target: Target) -> Stream:
        watch = Watch(
            self.registry.store,
            target.resource,
            target.version,
            target.namespace,
            self._selection(request),
            request.query.get("resourceVersion", ""),
            request.flag("allowWatchBookmarks"),
        )
        timeout = request.query.get("timeoutSeconds")

        def chunks(_: Any) -> Iterator[bytes]:
            for event in watch.events(float(timeout) if timeout else None):
                yield json.dumps(event).encode() + b"\n"

        return Stream("application/json", chunks, watch.stop)

    def _one(self, request: Request, target: Target) -> Answer:
        resource, sub = target.resource, target.subresource
        if sub == "log" and resource.kind == "Pod" and request.method == "GET":
            return self._log(request, target)
        if sub == "eviction" and resource.kind == "Pod" and request.method == "POST":
            options = (request.document().get("deleteOptions") or {}).get("gracePeriodSeconds")
            self.registry.delete(resource, target.namespace, target.name, grace_s=options)
            return 201, {"kind": "Status", "apiVersion": "v1", "status": "Success", "metadata": {}}
        served = {"status": resource.status, "scale": resource.scale, "": True}
        if not served.get(sub):
            raise ApiError(404, "the server could not find the requested resource")
        match request.method:
            case "GET":
                item = self.registry.get(resource, target.namespace, target.name)
                return 200, self._shown(target, item)
            case "PUT":
                body = request.document() if sub == "scale" else self._document(request, target)
                return self._update(request, target, lambda item: body)
            case "PATCH":
                return self._patch(request, target)
            case "DELETE" if not sub:
                return 200, self._delete(request, target, target.name, target.namespace)
        raise ApiError(405, "the server does not allow this method on the requested resource")

    def _shown(self, target: Target, item: Object) -> Object:
        if target.subresource != "scale":
            return converted(target.resource, item, target.version)
        meta, spec, status = item["metadata"], item["spec"], item.get("status") or {}
        kept = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
        labels = (spec.get("selector") or {}).get("matchLabels") or {}
        return {
            "kind": "Scale",
            "apiVersion": "autoscaling/v1",
            "metadata": {key: meta[key] for key in kept if key in meta},
            # A server leaves a 0 out of the spec, and not out of the status.
            "spec": {"replicas": spec["replicas"]} if spec.get("replicas") else {},
            "status": {
                "replicas": status.get("replicas", 0),
                "selector": ",".join(f"{key}={value}" for key, value in labels.items()),
            },
        }

    def _update(
        self, request: Request, target: Target, change: Callable[[Object], Object]
    ) -> Answer:
        def scaled(item: Object) -> Object:
            wanted = change(self._shown(target, item))
            meta = {**item["metadata"]}
            if version := (wanted.get("metadata") or {}).get("resourceVersion"):
                meta["resourceVersion"] = version
            replicas = (wanted.get("spec") or {}).get("replicas", 0)
            return {**item, "metadata": meta, "spec": {**item["spec"], "replicas": replicas}}

        scale = target.subresource == "scale"
        item = self.registry.update(
            target.resource,
            target.namespace,
            target.name,
            scaled if scale else change,
            "" if scale else target.subresource,
            request.query.get("dryRun") == "All",
        )
        return 200, self._shown(target, item)

    def _patch(self, request: Request, target: Target) -> Answer:
        patch = request.document()
        match request.content_type.partition(";")[0].strip():
            case "application/merge-patch+json":
                merge = patches.merge_patch
            case "application/json-patch+json":
                merge = patches.json_patch
            case "application/strategic-merge-patch+json" if not target.resource.custom:
                merge = patches.strategic_merge
            case "application/apply-patch+yaml":
                return self._apply(request, target, patch)
            case other:
                raise ApiError(415, f"the body of the request was in an unknown format: {other}")
        return self._update(request, target, lambda item: merge(item, patch))

    def _apply(self, request: Request, target: Target, patch: Object) -> Answer:
        manager = request.query.get("fieldManager")
        if not manager:
            raise ApiError(400, "PatchOptions.meta.k8s.io is invalid: fieldManager: Required value")
        self._document(request, target)
        patch.setdefault("metadata", {}).pop("managedFields", None)
        with self.registry.store.lock:
            old = self.registry.store.read(target.resource, target.namespace, target.name)
            dry_run = request.query.get("dryRun") == "All"
            if old is None and not target.subresource:
                group, plural = target.resource.group, target.resource.plural
                # Who applies what is not there has to be allowed to create it, too.
                self.authorizer.require("create", group, plural, target.namespace, target.name)
                patch["metadata"].setdefault("name", target.name)
                created = self.registry.create(target.resource, target.namespace, patch, dry_run)
                answer = 201, converted(target.resource, created, target.version)
            else:
                uid = old["metadata"]["uid"] if old else ""
                before = self._applied.get((uid, manager, target.subresource))
                answer = self._update(
                    request, target, lambda item: patches.apply_patch(item, before, patch)
                )
            if not dry_run:
                assert isinstance(answer, tuple)
                uid = answer[1]["metadata"]["uid"]
                self._applied[uid, manager, target.subresource] = patch
        return answer

    def _delete(self, request: Request, target: Target, name: str, namespace: str) -> Object:
        options = {**(request.document() or {}), **request.query}
        grace = options.get("gracePeriodSeconds")
        policy = options.get("propagationPolicy")
        if str(options.get("orphanDependents", "")).lower() in ("true", "false"):
            policy = (
                "Orphan" if str(options["orphanDependents"]).lower() == "true" else "Background"
            )
        item = self.registry.delete(
            target.resource,
            namespace,
            name,
            policy,
            None if grace is None else int(grace),
            options.get("preconditions"),
            "All" in (options.get("dryRun") or ()),
        )
        still = self.registry.store.read(target.resource, namespace, name)
        if target.resource.kind == "Pod" or still:
            return converted(target.resource, item, target.version)
        details = {"name": name, "kind": target.resource.plural, "uid": item["metadata"]["uid"]}
        if target.resource.group:
            details["group"] = target.resource.group
        status = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}
        return {**status, "details": details}

    def _log(self, request: Request, target: Target) -> Stream:
        query = request.query
        self.registry.get(target.resource, target.namespace, target.name)
        if self.log_source is None:
            raise ApiError(500, "no kubelet serves logs")
        log = self.log_source(
            target.namespace, target.name, query.get("container"), request.flag("previous")
        )
        since = None
        if query.get("sinceSeconds"):
            since = time.time() - float(query["sinceSeconds"])
        elif query.get("sinceTime"):
            since = parse_time(query["sinceTime"])
        tail = int(query["tailLines"]) if query.get("tailLines") else None

        def chunks(standing: Any) -> Iterator[bytes]:
            return log.read(
                request.flag("follow"), request.flag("timestamps"), since, tail, standing
            )

        return Stream("text/plain", chunks, log.wake)
