"""Which datasets a job makes: the one that is asked for, and what it is made from."""

from dagster import AssetKey

from api.context import Call
from assets.keys import asset_key
from projects.loading import LoadedProject


def to_be_made(call: Call, project: LoadedProject, dataset: str) -> list[AssetKey]:
    """Key of the dataset, after those that it is made from and that were never made."""
    origins = project.declaration.origins_of(dataset)
    keys = [asset_key(project.name, "dataset", name) for name in origins]
    missing = [key for key in keys if call.platform.events.newest(list(key.path)) is None]
    return [*missing, asset_key(project.name, "dataset", dataset)]
