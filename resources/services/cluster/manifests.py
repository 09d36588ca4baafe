"""The objects of a service on a cluster: one set for each version, and what joins the versions."""

from typing import Any

from resources.kubernetes_api.pod_template import STATE, env_vars, labels, pod_spec, resources_of
from resources.kubernetes_api.settings import ClusterSettings
from resources.services.cluster.version import BENTO, SERVICE_LABEL, Version, object_name

PORT, GRPC_PORT = 3000, 9000
REQUESTS = f"{STATE}/requests"
STARTS_WITHIN_S = 300
GRACE_S = 30
MODEL_VERSION, ARTEFACT_DIGEST = "orrery/model-version", "orrery/artefact-digest"
"""Annotations of a version's Deployment."""
# Proxies send requests until they have heard that the pod ends.
DRAIN_S = 5
BUSY = 0.7
"""Share of a processor, or of those that are declared, at which a replica gets another."""
KINDS_OF_A_SERVICE = (
    "HTTPRoute",
    "Service",
    "ScaledObject",
    "HorizontalPodAutoscaler",
    "PodDisruptionBudget",
    "Deployment",
)
"""In the order in which they are taken away: what leads to pods before the pods."""
LAST_WORDS = {"terminationMessagePolicy": "FallbackToLogsOnError"}
"""What a container said before it failed is in the pod's status."""


def objects_of(version: Version, cluster: ClusterSettings) -> list[dict[str, Any]]:
    """Everything that one version consists of."""
    objects = [_kubernetes_deployment(version, cluster), _service(version.name, version, cluster)]
    deployment = version.deployment
    if deployment.most_replicas > deployment.replicas:
        scaler = _scaled_object if cluster.autoscaler == "keda" else _autoscaler
        objects.append(scaler(version, cluster))
    if deployment.most_replicas > 1:
        objects.append(_disruption_budget(version, cluster))
    return objects


def entrance(version: Version, cluster: ClusterSettings, notes: dict[str, str]) -> dict[str, Any]:
    """The Service that is the service's address in the cluster: it leads to the version."""
    service = _service(object_name(version.deployment.service), version, cluster)
    service["metadata"]["labels"] = {
        **labels("service"),
        SERVICE_LABEL: object_name(version.deployment.service),
    }
    service["metadata"]["annotations"] = notes
    return service


def route(service: str, weights: dict[str, int], cluster: ClusterSettings) -> dict[str, Any]:
    """The HTTPRoute of the service: percent of the traffic by the name of a version's Service.

    It is found by its name as the first part of a path, and as the model of the Open Inference
    Protocol.
    """
    namespace, _, name = cluster.gateway.partition("/")
    prefix = {"type": "PathPrefix", "value": f"/{service}"}
    model = {"type": "PathPrefix", "value": f"/v2/models/{service}"}
    rewrite = {"path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/"}}
    backends = [
        {"name": backend, "port": 80, "weight": weight} for backend, weight in weights.items()
    ]
    spec: dict[str, Any] = {
        "parentRefs": [{"name": name, "namespace": namespace}],
        "rules": [
            {
                "matches": [{"path": prefix}],
                "filters": [{"type": "URLRewrite", "urlRewrite": rewrite}],
                "backendRefs": backends,
            },
            {"matches": [{"path": model}], "backendRefs": backends},
        ],
    }
    if cluster.services_host:
        spec["hostnames"] = [cluster.services_host]
    metadata = {
        "name": object_name(service),
        "namespace": cluster.namespace,
        "labels": {**labels("service"), SERVICE_LABEL: object_name(service)},
    }
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": metadata,
        "spec": spec,
    }


def _kubernetes_deployment(version: Version, cluster: ClusterSettings) -> dict[str, Any]:
    deployment = version.deployment
    identity = {
        MODEL_VERSION: str(deployment.model_version),
        ARTEFACT_DIGEST: deployment.artefact_digest,
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {**_metadata(version.name, version, cluster), "annotations": identity},
        "spec": {
            "replicas": version.deployment.replicas,
            "progressDeadlineSeconds": STARTS_WITHIN_S,
            "revisionHistoryLimit": 1,
            "selector": {"matchLabels": version.selector},
            "strategy": {
                "type": "RollingUpdate",
                "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1},
            },
            "template": {
                "metadata": {
                    "labels": version.labels,
                    "annotations": {
                        "prometheus.io/scrape": "true",
                        "prometheus.io/port": str(PORT),
                        "prometheus.io/path": "/metrics",
                    },
                },
                "spec": _pod(version, cluster),
            },
        },
    }


def _pod(version: Version, cluster: ClusterSettings) -> dict[str, Any]:
    requirements = version.requirements
    spec = pod_spec(
        "predict",
        version.image,
        resources_of(
            cluster,
            requirements.cpus_per_worker,
            requirements.memory,
            memory_limit=requirements.memory_limit,
        ),
        cluster,
        command=["python", f"{version.bento_folder}/src/serve.py", str(PORT)],
        env=[
            {"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
            {"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
            # Kubernetes expands $(POD_IP) only where the variable is defined before.
            *env_vars(
                {
                    "PREDICT_HOST": "$(POD_IP)",
                    "PREDICT_GRPC_PORT": str(GRPC_PORT),
                    **requirements.env_vars,
                    **_log_of(version),
                }
            ),
        ],
    )
    answering = spec["containers"][0]
    # It needs none of the platform's secrets to answer.
    answering["envFrom"] = []
    answering |= {
        "ports": [
            {"name": "http", "containerPort": PORT},
            {"name": "grpc", "containerPort": GRPC_PORT},
        ],
        # With one look every 2 s the pod may take as long as its Deployment.
        "startupProbe": {**_probe("/readyz", 2), "failureThreshold": STARTS_WITHIN_S // 2},
        "readinessProbe": _probe("/readyz", 5),
        "livenessProbe": {**_probe("/livez", 10), "failureThreshold": 3},
        "lifecycle": {"preStop": {"sleep": {"seconds": DRAIN_S}}},
    }
    answering |= LAST_WORDS
    spec["terminationGracePeriodSeconds"] = GRACE_S
    spec["initContainers"] = []
    if not version.is_built_in:
        fetching = ["engine.fetch", version.bento_uri, version.bento_digest, BENTO]
        spec["initContainers"].append(_beside("fetch", cluster, fetching))
    if plan := version.deployment.request_log:
        target = f"{version.requests_uri}/$(POD_NAME)"
        uploading = ["engine.log_upload", REQUESTS, target, str(plan.megabytes)]
        upload = _beside("request-log", cluster, uploading)
        # POD_NAME, which the target refers to.
        upload["env"] = answering["env"][1:2]
        # A sidecar: it gets SIGTERM after the replica, so that every answer is logged.
        upload["restartPolicy"] = "Always"
        spec["initContainers"].append(upload)
    _place(spec, version, cluster)
    return spec


def _beside(name: str, cluster: ClusterSettings, module: list[str]) -> dict[str, Any]:
    """A container that runs a module of the platform beside the answering one."""
    spec = pod_spec(
        name,
        cluster.serving_image,
        resources_of(cluster, 0.05, "256Mi"),
        cluster,
        command=["python", "-m", *module],
        # A service reaches the bucket, never the databases.
        secret=cluster.bucket_secret,
    )
    return spec["containers"][0] | LAST_WORDS


def _place(spec: dict[str, Any], version: Version, cluster: ClusterSettings) -> None:
    requirements = version.requirements
    if requirements.node_selector:
        spec["nodeSelector"] = requirements.node_selector
    if requirements.tolerations:
        spec["tolerations"] = requirements.tolerations
    spec["topologySpreadConstraints"] = [
        {
            "maxSkew": 1,
            "topologyKey": key,
            "whenUnsatisfiable": "DoNotSchedule" if is_strict else "ScheduleAnyway",
            "labelSelector": {"matchLabels": version.selector},
        }
        for key, is_strict in (
            ("topology.kubernetes.io/zone", cluster.spread_zones),
            ("kubernetes.io/hostname", False),
        )
    ]


def _log_of(version: Version) -> dict[str, str]:
    plan = version.deployment.request_log
    if plan is None:
        return {}
    # Pods of one node keep no more together, however many there are.
    most = max(version.deployment.replicas, version.deployment.most_replicas)
    each = max(1, plan.megabytes // most)
    return {
        "REQUEST_LOG_FOLDER": REQUESTS,
        "REQUEST_LOG_NAME": "requests",
        "REQUEST_LOG_SAMPLE": str(plan.sample),
        "REQUEST_LOG_MEGABYTES": str(each),
    }


def _probe(path: str, every_s: int) -> dict[str, Any]:
    return {
        "httpGet": {"path": path, "port": "http"},
        "periodSeconds": every_s,
        "timeoutSeconds": 2,
    }


def _service(name: str, version: Version, cluster: ClusterSettings) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": _metadata(name, version, cluster),
        "spec": {
            "selector": version.selector,
            "ports": [
                {"name": "http", "port": 80, "targetPort": "http"},
                {
                    "name": "grpc",
                    "port": GRPC_PORT,
                    "targetPort": "grpc",
                    "appProtocol": "kubernetes.io/h2c",
                },
            ],
        },
    }


def _autoscaler(version: Version, cluster: ClusterSettings) -> dict[str, Any]:
    # Not of what is asked for: a replica that is kept little of a processor may use a whole one.
    busy = f"{max(1.0, version.requirements.cpus_per_worker) * BUSY * 1000:.0f}m"
    target = {"type": "AverageValue", "averageValue": busy}
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": _metadata(version.name, version, cluster),
        "spec": {
            "scaleTargetRef": _target(version),
            "minReplicas": version.deployment.replicas,
            "maxReplicas": version.deployment.most_replicas,
            "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": target}}],
        },
    }


def _scaled_object(version: Version, cluster: ClusterSettings) -> dict[str, Any]:
    pods = f'namespace="{cluster.namespace}",pod=~"{version.name}-.*"'
    query = f"sum(rate(predict_requests_total{{{pods}}}[1m]))"
    trigger = {
        "type": "prometheus",
        "metadata": {
            "serverAddress": cluster.prometheus_url,
            "query": query,
            "threshold": str(cluster.requests_per_replica),
        },
    }
    return {
        "apiVersion": "keda.sh/v1alpha1",
        "kind": "ScaledObject",
        "metadata": _metadata(version.name, version, cluster),
        "spec": {
            "scaleTargetRef": _target(version),
            "minReplicaCount": version.deployment.replicas,
            "maxReplicaCount": version.deployment.most_replicas,
            "triggers": [trigger],
        },
    }


def _disruption_budget(version: Version, cluster: ClusterSettings) -> dict[str, Any]:
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": _metadata(version.name, version, cluster),
        "spec": {"maxUnavailable": 1, "selector": {"matchLabels": version.selector}},
    }


def _target(version: Version) -> dict[str, str]:
    return {"apiVersion": "apps/v1", "kind": "Deployment", "name": version.name}


def _metadata(name: str, version: Version, cluster: ClusterSettings) -> dict[str, Any]:
    return {"name": name, "namespace": cluster.namespace, "labels": version.labels}
