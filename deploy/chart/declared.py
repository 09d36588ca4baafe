"""The values of the chart, in the order in which `values.yaml` tells them."""

from deploy.chart.values import (
    HTTP,
    NUMBER,
    OBJECTS,
    QUANTITY,
    RESOURCES,
    STRING,
    STRINGS,
    SWITCH,
    Place,
    Value,
    at,
    in_pods,
    of_container,
    quota,
)

CLAIM = "spec/volumeClaimTemplates/*/spec"
CERTIFICATE = "spec/listeners/*/tls/certificateRefs/*/name"

PLATFORM = (
    Value(
        "publicUrl",
        "Where people reach the platform. A Gateway or an Ingress has its host name.",
        HTTP,
        variable="ORRERY_PUBLIC_URL",
    ),
    Value(
        "services.host",
        "Host name of the services behind the Gateway.",
        STRING,
        variable="ORRERY_CLUSTER_SERVICES_HOST",
    ),
    Value(
        "services.url",
        "Where people reach the services.",
        HTTP,
        variable="ORRERY_CLUSTER_SERVICES_URL",
    ),
    Value(
        "objects", "Bucket of the objects, and a prefix in it.", STRING, variable="ORRERY_OBJECTS"
    ),
    Value(
        "settings",
        "Further variables of docs/operations.md, all of them strings, for every pod of the"
        " platform. No secrets: those are keys of the Secret `orrery-secrets`.",
        {
            "type": "object",
            "propertyNames": {"pattern": "^[A-Z][A-Z0-9_]*$"},
            "additionalProperties": STRING,
        },
        default={},
    ),
    Value(
        "namespace.create",
        "Renders the Namespace of the release with its PodSecurity labels, for Argo CD, Flux and"
        " `helm template | kubectl apply`. `helm install` needs the namespace before: create and"
        " label it.",
        SWITCH,
        default=False,
    ),
    Value(
        "namespace.defaultAccounts",
        "Renders the ServiceAccounts `default`, without a token, too. Kubernetes makes them, so"
        " `helm install` needs `--take-ownership` for it.",
        SWITCH,
        default=False,
    ),
    Value(
        "clusterWide.name",
        "What the names of the ClusterQueue, ResourceFlavors and PriorityClass begin with. A second"
        " release in the cluster needs its own.",
        {"type": "string", "pattern": "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"},
        default="orrery",
    ),
    Value(
        "accounts.annotations",
        "Annotations of the ServiceAccounts, such as those that give them a role of the cloud.",
        STRINGS,
        places=at("ServiceAccount", "*", "metadata"),
        key="annotations",
        default={},
    ),
    Value(
        "nodeSelector",
        "Labels of the nodes on which the platform's own pods run.",
        STRINGS,
        places=in_pods(),
        key="nodeSelector",
        default={},
    ),
    Value(
        "tolerations",
        "Taints of nodes that the platform's own pods tolerate.",
        OBJECTS,
        places=in_pods(),
        key="tolerations",
        default=[],
    ),
    Value(
        "gateway.resources",
        "What a pod of the gateway asks for and may take.",
        RESOURCES,
        places=of_container("Deployment", "gateway"),
    ),
    Value(
        "daemon.resources",
        "What the pod of the daemon asks for and may take.",
        RESOURCES,
        places=of_container("Deployment", "daemon"),
    ),
    Value(
        "collection.suspend",
        "Removes nothing by itself: `orrery gc` and the API still do.",
        SWITCH,
        places=at("CronJob", "collection", "spec/suspend"),
    ),
    Value(
        "collection.schedule",
        "When what the declared retention does not keep is removed, in UTC.",
        STRING,
        places=at("CronJob", "collection", "spec/schedule"),
    ),
    Value(
        "collection.resources",
        "What the pod of `orrery gc` asks for and may take.",
        RESOURCES,
        places=at(
            "CronJob",
            "collection",
            "spec/jobTemplate/spec/template/spec/containers/collection/resources",
        ),
    ),
    Value(
        "network.egress",
        "More rules of the NetworkPolicy `outward`, which lets every pod out, such as"
        " [{ports: [{port: 9000, protocol: TCP}]}] for a bucket on port 9000.",
        OBJECTS,
        places=at("NetworkPolicy", "outward", "spec/egress"),
        key="",
        default=[],
    ),
    Value(
        "network.databaseEgress",
        "More rules of the NetworkPolicy `databases`, which lets out all but services.",
        OBJECTS,
        places=at("NetworkPolicy", "databases", "spec/egress"),
        key="",
        default=[],
    ),
)

COMPONENTS = (
    Value(
        "pullSecrets.name",
        "Name of the Secret, of the type docker-registry.",
        STRING,
        places=at("ServiceAccount", "*", "imagePullSecrets/*/name"),
        variable="ORRERY_CLUSTER_IMAGE_PULL_SECRETS",
    ),
    Value(
        "postgresql.storage",
        "Size of its volume.",
        QUANTITY,
        places=at("StatefulSet", "postgresql", f"{CLAIM}/resources/requests/storage"),
    ),
    Value(
        "postgresql.storageClass",
        "StorageClass of its volume; that of the cluster where it is empty.",
        STRING,
        places=at("StatefulSet", "postgresql", CLAIM),
        key="storageClassName",
    ),
    Value(
        "postgresql.resources",
        "What its pod asks for and may take.",
        RESOURCES,
        places=of_container("StatefulSet", "postgresql"),
    ),
    Value(
        "minio.storage",
        "Size of its volume.",
        QUANTITY,
        places=at("StatefulSet", "minio", f"{CLAIM}/resources/requests/storage"),
    ),
    Value(
        "minio.storageClass",
        "StorageClass of its volume; that of the cluster where it is empty.",
        STRING,
        places=at("StatefulSet", "minio", CLAIM),
        key="storageClassName",
    ),
    Value(
        "minio.resources",
        "What its pod asks for and may take.",
        RESOURCES,
        places=of_container("StatefulSet", "minio"),
    ),
    Value("queues.quotas.cpu", "CPUs of all jobs together.", QUANTITY, places=quota("cpu")),
    Value("queues.quotas.memory", "Memory of all jobs together.", QUANTITY, places=quota("memory")),
    Value(
        "queues.quotas.gpu", "GPUs of all jobs together.", NUMBER, places=quota("nvidia.com~1gpu")
    ),
    Value(
        "queues.priorityClasses",
        "Renders the WorkloadPriorityClasses `low`, `normal` and `high`, which the releases of a"
        " cluster share: one of them has this on.",
        SWITCH,
        default=True,
    ),
    Value(
        "gatewayApi.className",
        "GatewayClass of the implementation.",
        STRING,
        places=at("Gateway", "orrery", "spec/gatewayClassName"),
    ),
    Value(
        "gatewayApi.tlsSecret",
        "Secret with the certificate of both host names.",
        STRING,
        places=at("Gateway", "orrery", CERTIFICATE),
    ),
    Value(
        "ingress.className",
        "IngressClass of the controller; that of the cluster where it is empty.",
        STRING,
        places=at("Ingress", "gateway", "spec"),
        key="ingressClassName",
    ),
    Value(
        "ingress.tlsSecret",
        "Secret with the certificate.",
        STRING,
        places=at("Ingress", "gateway", "spec/tls/*/secretName"),
    ),
    Value(
        "ingress.annotations",
        "Annotations that the controller reads.",
        STRINGS,
        places=at("Ingress", "gateway", "metadata"),
        key="annotations",
        default={},
    ),
    Value(
        "keda.prometheusUrl",
        "Prometheus, as KEDA and the gateway reach it; the NetworkPolicy `to-prometheus` lets out"
        " to port 9090.",
        HTTP,
        variable="ORRERY_CLUSTER_PROMETHEUS_URL",
    ),
    Value(
        "keda.requestsPerReplica",
        "Requests per second that one replica of a service answers.",
        STRING,
        variable="ORRERY_CLUSTER_REQUESTS_PER_REPLICA",
    ),
    Value(
        "keda.podMonitorLabels",
        "Labels by which the Prometheus Operator selects the PodMonitor of the services.",
        STRINGS,
        places=at("PodMonitor", "services", "metadata/labels"),
    ),
    Value(
        "zones.minReplicas",
        "Fewest replicas of the gateway.",
        NUMBER,
        places=at("HorizontalPodAutoscaler", "gateway", "spec/minReplicas"),
    ),
    Value(
        "zones.maxReplicas",
        "Most replicas of the gateway.",
        NUMBER,
        places=at("HorizontalPodAutoscaler", "gateway", "spec/maxReplicas"),
    ),
    Value(
        "backups.schedule",
        "When the databases are dumped, in UTC.",
        STRING,
        places=at("CronJob", "backup", "spec/schedule"),
    ),
    Value(
        "backups.storage",
        "Room for the dumps of one night.",
        QUANTITY,
        places=(
            Place(
                ("CronJob",),
                "backup",
                "spec/jobTemplate/spec/template/spec/volumes/backup/emptyDir/sizeLimit",
            ),
        ),
    ),
    Value(
        "builder.registry",
        "Where images of services are pushed, such as REGISTRY/orrery/services.",
        STRING,
        variable="ORRERY_CLUSTER_REGISTRY",
    ),
)

SUMMARIES = {
    "backups": "Dumps the databases every night into the bucket.",
    "builder": "Builds images of services, in the namespace `NAMESPACE-builds`, which allows user"
    " namespaces.",
    "gateway-api": "The gateway and the services behind one Gateway with TLS.",
    "ingress": "An Ingress for the gateway, where there is no Gateway API.",
    "keda": "Services are scaled by the rate of their requests, as Prometheus counts them.",
    "minio": "An S3 server in the cluster, for trials and development.",
    "postgresql": "PostgreSQL in the cluster, for trials and development.",
    "pull-secrets": "Images of a private registry: a Secret that every account pulls with.",
    "queues": "Jobs wait in queues of Kueue.",
    "zones": "Gateways, and the replicas of services, run in three zones.",
}
"""What each component is for; another component is described by its own file."""
