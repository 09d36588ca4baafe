"""The jobs of a project: one per natural unit, and one for the whole loop."""

import dagster as dg
from dagster import AssetSelection

# Private: `define_asset_job` is public, but the type that it returns is not.
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

from assets.keys import op_name
from projects.loading import LoadedProject

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
            jobs.append(_job(project.name, unit, selected, description, executor))
    return jobs


def _job(
    project: str,
    unit: str,
    families: list[str],
    description: str,
    executor: dg.ExecutorDefinition | None,
) -> UnresolvedAssetJobDefinition:
    selection = AssetSelection.key_prefixes(*([project, family] for family in families))
    return dg.define_asset_job(
        job_name(unit, project),
        selection,
        description=description,
        tags={"project": project, "unit": unit},
        executor_def=executor,
    )
