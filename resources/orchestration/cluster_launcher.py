"""Starts each dagster_run as a pod of its own: small, without a GPU, and never waiting for one.

timeout: run monitoring fails a dagster_run whose pod does not start in time, but for one that only
    waits for room; its Job is then deleted by the sweep, lest it start late.
retry: dagster_k8s repeats a failed call; while the API does not answer, a dagster_run goes back
    into the queue; run monitoring starts a lost dagster_run again.
cancel: the Job is deleted, and its pod gets SIGTERM.
duplicate: the Job is named by the dagster_run's id, and takes no second attempt (backoffLimit 0).
partial write: a launch that fails fails the dagster_run, and leaves no Job.
"""

from typing import Any, Self

from dagster import DagsterRun

# Dagster has no public names for what a launcher takes, raises and returns.
from dagster._core.errors import DagsterUserCodeUnreachableError
from dagster._core.launcher.base import CheckRunHealthResult, LaunchRunContext, WorkerStatus
from dagster._serdes import ConfigurableClassData
from dagster_k8s.container_context import K8sContainerContext
from dagster_k8s.job import get_job_name_from_run_id
from dagster_k8s.launcher import K8sRunLauncher
from typing_extensions import override

from resources.kubernetes_api.client import Cluster, ClusterRefused, ClusterUnavailable
from resources.kubernetes_api.pod_template import (
    AUTHORITIES_MOUNT,
    AUTHORITIES_VOLUME,
    SECURE_CONTAINER,
    SECURE_POD,
    SERVICE_LINKS,
    STATE,
    labels,
    run_resources,
)
from resources.kubernetes_api.settings import ClusterSettings
from resources.orchestration.run_pods import RunPods
from resources.orchestration.run_projects import ONLY_PROJECTS, projects_of
from resources.settings import CHECKOUT

KEPT_AFTER_END_S = 3_600
GRACE_S = 60


class ClusterLauncher(K8sRunLauncher):
    """dagster_k8s' launcher, which knows a dagster_run's pod from one it could not ask about."""

    cluster: Cluster
    pods: RunPods

    @classmethod
    def of(cls, cluster: ClusterSettings, inst_data: ConfigurableClassData | None) -> Self:
        """The launcher of the namespace."""
        launcher = cls(
            service_account_name=cluster.service_account,
            # Only kept by dagster_k8s: `dagster.yaml` is part of the image.
            instance_config_map=cluster.config_map,
            dagster_home=str(CHECKOUT),
            job_image=cluster.control_image,
            image_pull_policy="IfNotPresent",
            image_pull_secrets=cluster.pull_secrets,
            load_incluster_config=cluster.kubeconfig is None,
            kubeconfig_file=str(cluster.kubeconfig) if cluster.kubeconfig else None,
            job_namespace=cluster.namespace,
            env_config_maps=[cluster.config_map],
            env_secrets=[cluster.secret],
            labels=labels("run"),
            resources=run_resources(cluster),
            security_context=SECURE_CONTAINER,
            fail_pod_on_run_failure=True,
            volumes=[
                {"name": "state", "emptyDir": {}},
                {"name": "tmp", "emptyDir": {}},
                AUTHORITIES_VOLUME,
            ],
            volume_mounts=[
                {"name": "state", "mountPath": STATE},
                {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108
                AUTHORITIES_MOUNT,
            ],
            run_k8s_config={
                "pod_spec_config": {
                    "enableServiceLinks": SERVICE_LINKS,
                    "securityContext": SECURE_POD,
                    "terminationGracePeriodSeconds": GRACE_S,
                },
                "job_spec_config": {"ttlSecondsAfterFinished": KEPT_AFTER_END_S},
            },
            inst_data=inst_data,
        )
        launcher.cluster = Cluster(cluster)
        launcher.pods = RunPods(launcher.cluster)
        return launcher

    @classmethod
    @override
    def config_type(cls) -> Any:
        return {}

    @override
    def launch_run(self, context: LaunchRunContext) -> None:
        """Make the Job of the dagster_run.

        Raises DagsterUserCodeUnreachableError while the Kubernetes API does not answer: of all
        errors Dagster puts a dagster_run back into its queue for this one alone, and fails it for
        others.
        """
        name = get_job_name_from_run_id(context.dagster_run.run_id)
        try:
            is_there = self.cluster.has("Job", name)
        except ClusterUnavailable as error:
            said = f"the dagster_run waits for the Kubernetes API, which does not answer: {error}"
            # What Dagster says of this error is about code servers.
            self._instance.report_engine_event(said, context.dagster_run)
            raise DagsterUserCodeUnreachableError(said) from error
        # Of a launch whose answer was lost.
        if not is_there:
            super().launch_run(context)

    @override
    def get_container_context_for_run(self, dagster_run: DagsterRun) -> K8sContainerContext:
        """As the launcher was made, and the pod loads the projects of its dagster_run alone."""
        variables = [f"{ONLY_PROJECTS}={projects_of(dagster_run)}"]
        context = super().get_container_context_for_run(dagster_run)
        return context.merge(K8sContainerContext(env_vars=variables))

    def waits_for_room(self, run_id: str, start_s: float) -> bool:
        """Whether the pod of the dagster_run only waits for room, or for the Kubernetes API, or has
        had its node for less than so many seconds."""
        return self.pods.waits_for_room(run_id, start_s)

    @override
    def check_run_worker_health(self, run: DagsterRun) -> CheckRunHealthResult:
        """FAILED only for a pod that is known to be gone: Dagster fails the dagster_run at any
        other answer than RUNNING, and an API server that does not answer is no reason."""
        name = get_job_name_from_run_id(run.run_id)
        try:
            job = self.cluster.get("Job", name)
        except (OSError, ClusterRefused) as error:
            return CheckRunHealthResult(WorkerStatus.RUNNING, f"not known: {error}")
        if job is None:
            return CheckRunHealthResult(WorkerStatus.FAILED, f"Job {name} is gone")
        return super().check_run_worker_health(run)
