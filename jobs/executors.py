"""Where the steps of a job run: in its own process, or in pods of their own."""

import dagster as dg

from projects.loading import LoadedProject
from resources.kubernetes_api.settings import ClusterSettings


def executor_of(project: LoadedProject, cluster: ClusterSettings) -> dg.ExecutorDefinition | None:
    """The executor of the project's jobs; None for the default one, which fuses the steps.

    A pod costs seconds, so steps have their own only where a dataset of the project needs memory
    that the small run pod does not have.
    """
    if not cluster.is_used:
        return None
    if not any(each.memory for each in project.declaration.datasets.values()):
        return None
    # This loads the Kubernetes client, which only a cluster needs.
    from dagster_k8s import k8s_job_executor

    return k8s_job_executor
