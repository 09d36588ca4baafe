"""Whether the Secrets are there that pods are started with, with their keys; no value is kept."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from deploy.doctor.cluster.pod_signs import sign_of_pods
from deploy.doctor.finding import Finding, fine, missing
from deploy.doctor.refusal import refused
from deploy.doctor.vantage import is_within
from resources.kubernetes_api.client import FORBIDDEN, Cluster, ClusterRefused
from resources.kubernetes_api.settings import ClusterSettings

HOW = "docs/kubernetes.md, Secrets"
HOW_FOR_BUILDS = "docs/kubernetes.md, Images of services"
DATABASES = ("ORRERY_DAGSTER_STORAGE", "ORRERY_MLFLOW_URI")
CONTROL, CONTROL_KEY = "orrery-control", "ORRERY_CONTROL"
INSTANCE, INSTANCE_KEY = "orrery-instance", "secret"
BUCKET_KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
"""Both or none: where pods have credentials of the cloud, the keys are left out."""


@dataclass(frozen=True)
class Wanted:
    """A Secret that pods are started with."""

    name: str
    why: str
    keys: tuple[str, ...] = ()
    is_of_variables: bool = True
    """Whether each key is an environment variable, which the ConfigMap of settings may set, too."""
    is_own: bool = False
    """Whether the gateway itself is started with it."""
    optional: tuple[str, ...] = BUCKET_KEYS
    """Keys of which it holds all or none."""


def wanted(settings: ClusterSettings) -> list[Wanted]:
    """The Secrets of the platform's namespace, with the keys that they need."""
    return [
        Wanted(
            settings.secret,
            "gateway, daemon and run pods take the databases and the bucket from it",
            DATABASES,
            is_own=True,
        ),
        Wanted(
            CONTROL,
            "gateways take the control database from it",
            (CONTROL_KEY,),
            is_own=True,
            optional=(),
        ),
        Wanted(
            settings.engine_secret,
            "training code takes the bucket and MLflow from it",
            ("ORRERY_MLFLOW_URI",),
        ),
        Wanted(settings.bucket_secret, "services take the bucket's credentials from it"),
        Wanted(
            INSTANCE,
            "gateways digest keys and sessions with it",
            (INSTANCE_KEY,),
            is_of_variables=False,
            is_own=True,
            optional=(),
        ),
    ]


def check_secrets(cluster: Cluster, instance_secret: Path) -> Iterator[Finding]:
    """Those of the platform's namespace; a gateway has that of the instance as a file."""
    elsewhere = _keys_of_settings(cluster)
    for each in wanted(cluster.settings):
        try:
            yield _checked(cluster, each, elsewhere)
        except ClusterRefused as error:
            if error.status != FORBIDDEN:
                raise
            yield _unread(cluster, each, instance_secret, error)


def check_build_secrets(cluster: Cluster) -> Iterator[Finding]:
    """Those of builds, in whose namespace they are copies."""
    settings = cluster.settings
    if not (settings.registry and settings.build_namespace):
        return
    users = {settings.bucket_secret: "builds take the bucket's credentials from it"}
    if settings.pull_secrets:
        users[settings.pull_secrets[0]["name"]] = "builds push with it"
    builds = cluster.within(settings.build_namespace)
    for name, why in users.items():
        finding = f"Secret {name} of builds"
        try:
            is_there = builds.has("Secret", name)
        except ClusterRefused as error:
            yield refused(finding, "get secrets", error, _look(builds, name))
            continue
        if is_there:
            yield fine(finding, "there")
        else:
            yield missing(
                finding,
                f"there is no Secret {name} in {builds.namespace}; {why}",
                f"copy it from {cluster.namespace} ({HOW_FOR_BUILDS})",
            )


def _checked(cluster: Cluster, secret: Wanted, elsewhere: frozenset[str]) -> Finding:
    name, keys = secret.name, cluster.keys("Secret", secret.name)
    finding = f"Secret {name}"
    if keys is None:
        return missing(
            finding,
            f"there is no Secret {name} in {cluster.namespace}; {secret.why}",
            f"make it ({HOW})",
            _how_to_make(cluster, secret),
        )
    lacks = _lacks(secret, keys | elsewhere if secret.is_of_variables else keys)
    if lacks:
        return missing(
            finding,
            f"the Secret {name} in {cluster.namespace} lacks {', '.join(lacks)}; {secret.why}",
            f"make it anew with all its keys ({HOW})",
            f"kubectl -n {cluster.namespace} delete secret {name}",
            _how_to_make(cluster, secret),
        )
    if secret.optional and not set(secret.optional) & (keys | elsewhere):
        return fine(finding, "it has its keys; those of the bucket come from the cloud")
    return fine(finding, "it has its keys")


def _lacks(secret: Wanted, keys: frozenset[str]) -> list[str]:
    lacks = [key for key in secret.keys if key not in keys]
    if set(secret.optional) & keys:
        lacks += [key for key in secret.optional if key not in keys]
    return lacks


def _how_to_make(cluster: Cluster, secret: Wanted) -> str:
    command = f"kubectl -n {cluster.namespace} create secret generic {secret.name}"
    if not secret.is_of_variables:
        return f"{command} --from-file={INSTANCE_KEY}=instance.secret"
    keys = (*secret.keys, *secret.optional)
    return " ".join([command, *(f"--from-literal={key}=VALUE" for key in keys)])


def _unread(cluster: Cluster, secret: Wanted, file: Path, error: ClusterRefused) -> Finding:
    """Without the right to read it: by what the gateway's own pod was started with, or by pods."""
    finding = f"Secret {secret.name}"
    if is_within() and secret.is_own:
        return _by_environment(cluster, finding, secret, file)
    if found := sign_of_pods(cluster, secret.name, finding, HOW):
        return found
    return refused(finding, "get secrets", error, _look(cluster, secret.name))


def _by_environment(cluster: Cluster, finding: str, secret: Wanted, file: Path) -> Finding:
    if secret.is_of_variables:
        lacks = _lacks(secret, frozenset(name for name, value in os.environ.items() if value))
    else:
        lacks = [] if file.is_file() and file.stat().st_size else [INSTANCE_KEY]
    if lacks:
        return missing(
            finding,
            f"this pod was started without {', '.join(lacks)} of the Secret {secret.name}; "
            f"{secret.why}",
            f"give the Secret what it lacks, and restart gateway and daemon ({HOW})",
            f"kubectl -n {cluster.namespace} rollout restart deployment gateway daemon",
        )
    return fine(finding, "this pod was started with its keys")


def _keys_of_settings(cluster: Cluster) -> frozenset[str]:
    """Variables that pods have from the ConfigMap of settings, beside a Secret."""
    try:
        return cluster.keys("ConfigMap", cluster.settings.config_map) or frozenset()
    except ClusterRefused:
        return frozenset()


def _look(cluster: Cluster, name: str) -> str:
    return f"kubectl -n {cluster.namespace} describe secret {name}"
