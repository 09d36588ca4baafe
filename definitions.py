"""The composition root: the only file that knows every orchestration room."""

import dagster as dg

from assets.checkpoints import build_checkpoint
from assets.datasets import build_dataset
from assets.models import build_champion, build_model
from assets.services import build_service
from assets.simulations import build_simulation
from jobs.executors import executor_of
from jobs.project_jobs import build_jobs
from jobs.schedules import build_schedules
from projects.loading import LoadedProject
from resources import adapters as to
from resources.api_projects import ApiProjects
from resources.datasets.sources import Sources
from resources.datasets.store import DatasetStore
from resources.declarations import Declarations
from resources.kubernetes_api.settings import ClusterSettings
from resources.orchestration.snapshots import answer_once
from resources.settings import Settings
from resources.storage.evidence import EvidenceStore
from resources.storage.request_logs import RequestLogs
from resources.tracking.adapter import Tracking
from sensors.abandoned import on_abandoned
from sensors.drift import build_drift_sensors
from sensors.failures import on_failure
from sensors.new_data import build_new_data_sensors

# A code server loads this module and no other of ours.
answer_once()
_made: dict[str, dg.Definitions] = {}
"""The definitions by what they were made from: Dagster asks twice while it loads."""


@dg.definitions
def defs() -> dg.Definitions:
    """Everything that every declared project consists of; broken ones are set aside."""
    settings = Settings()
    ApiProjects(settings).pull()
    declarations = Declarations(settings)
    source = f"{declarations.fingerprint()} {settings!r} {ClusterSettings()!r}"
    if source not in _made:
        made = _made_from(declarations.load().projects, settings)
        _made.clear()
        _made[source] = made
    return _made[source]


def _made_from(projects: list[LoadedProject], settings: Settings) -> dg.Definitions:
    shared = dg.Definitions(resources=adapters(settings), executor=dg.in_process_executor)
    cluster = ClusterSettings()
    declared = [definitions_of(project, cluster) for project in projects]
    jobs = [job for each in declared for job in _jobs_of(each, shared)]
    named = {job.name: job for job in jobs}
    return dg.Definitions.merge(
        shared,
        dg.Definitions(
            assets=[asset for each in declared for asset in each.assets or ()],
            jobs=jobs,
            schedules=[schedule for each in declared for schedule in each.schedules or ()],
            sensors=[
                on_failure,
                on_abandoned,
                *build_new_data_sensors(projects, named),
                *build_drift_sensors(projects, named),
            ],
        ),
    )


def _jobs_of(project: dg.Definitions, shared: dg.Definitions) -> list[dg.JobDefinition]:
    """The jobs of a project, each with those of the project's assets that it selects.

    Dagster would look through the assets of all projects for each job of each project.
    """
    alone = dg.Definitions.merge(shared, project)
    return [alone.resolve_job_def(job.name) for job in project.jobs or ()]


def definitions_of(
    project: LoadedProject, cluster: ClusterSettings | None = None
) -> dg.Definitions:
    """The assets, jobs and schedules of one project, on the cluster of the environment by
    default."""
    declared, cluster = project.declaration, cluster or ClusterSettings()
    return dg.Definitions(
        assets=[
            *(build_dataset(project, name, cluster) for name in declared.datasets),
            *(build_checkpoint(project, name) for name in declared.models),
            *(build_model(project, name) for name in declared.models),
            *(build_simulation(project, name) for name in declared.simulations),
            *(build_champion(project, name) for name in declared.models),
            *(build_service(project, name) for name in declared.services),
        ],
        jobs=build_jobs(project, executor_of(project, cluster)),
        schedules=build_schedules(project),
    )


def adapters(settings: Settings) -> dict[str, object]:
    """The adapters to outside systems, by the name that steps ask for."""
    cluster = ClusterSettings()
    objects = to.object_store(settings)
    request_logs = RequestLogs(to.request_logs(settings), objects)
    return {
        "settings": settings,
        "objects": objects,
        "sources": Sources(objects, request_logs),
        "datasets": DatasetStore(objects),
        "evidence": EvidenceStore(objects),
        "compute": to.compute(settings, cluster),
        "run_workers": to.run_workers(cluster),
        "tracking": Tracking(settings.tracking_uri, settings.mlflow_artifacts, settings.mlflow_url),
        "runtime": to.runtime(settings, cluster),
        "request_logs": request_logs,
    }
