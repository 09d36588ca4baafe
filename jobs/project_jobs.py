"""The jobs of a project: one per natural unit, and one for the whole loop."""

import dagster as dg
from dagster import AssetSelection

# Private: `define_asset_job` is public, but the type that it returns is not.
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

from assets.keys import asset_key, op_name
from projects.loading import LoadedProject
from resources.orchestration.run_projects import PROJECT_TAG

UNITS = {
    "train": (
        ("dataset", "checkpoint", "model"),
        "Read the datasets, train, and register the export as the candidate.",
    ),
    "simulate": (
        ("simulation",),
        "Run every suite against the newest model version and renew its evidence.",
    ),
    "deploy": (
        ("champion", "service"),
        "Promote the newest version if its evidence passes the gate, and serve it.",
    ),
    "turn": (
        ("dataset", "checkpoint", "model", "simulation", "champion", "service"),
        "One turn of the whole loop: data, training, registration, simulation, gate, service.",
    ),
}


def job_name(unit: str, project: str) -> str:
    """Name of the job, such as `train_digits`."""
    return op_name(f"{unit}_{project}")


def build_jobs(
    project: LoadedProject, executor: dg.ExecutorDefinition | None = None
) -> list[UnresolvedAssetJobDefinition]:
    """The project's jobs; a project without services has no `deployment`, and so on."""
    declaration = project.declaration
    present = {
        "dataset": declaration.datasets,
        "checkpoint": declaration.models,
        "model": declaration.models,
        "simulation": declaration.simulations,
        "champion": declaration.models,
        "service": declaration.services,
    }
    jobs = []
    for unit, (families, description) in UNITS.items():
        selected = [family for family in families if present[family]]
        if selected:
            jobs.append(_job(project, unit, selected, description, executor))
    return jobs


def _job(
    project: LoadedProject,
    unit: str,
    families: list[str],
    description: str,
    executor: dg.ExecutorDefinition | None,
) -> UnresolvedAssetJobDefinition:
    selection = AssetSelection.key_prefixes(*([project.name, family] for family in families))
    if "champion" not in families:
        # What a champion predicts waits for one.
        keys = [asset_key(project.name, "dataset", name) for name in _after_champions(project)]
        selection = selection - AssetSelection.keys(*keys) if keys else selection
    return dg.define_asset_job(
        job_name(unit, project.name),
        selection,
        description=description,
        tags={PROJECT_TAG: project.name, "unit": unit},
        executor_def=executor,
    )


def _after_champions(project: LoadedProject) -> list[str]:
    """Datasets that a champion predicts, and those that are made from them."""
    datasets = project.declaration.datasets
    return [
        name
        for name in datasets
        if any(datasets[each].predict for each in (name, *project.declaration.origins_of(name)))
    ]
