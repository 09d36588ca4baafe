"""Models that the command line brings: files of this machine, which the gateway does not see."""

from pathlib import Path

import typer

from projects.finished_model import local_path
from resources.settings import Settings


def brought(address: str) -> str:
    """The address as the engine reads it: a file or folder of this machine is now in the object
    store that the settings name. Raises typer.BadParameter where there is none."""
    path = local_path(address, Path.cwd())
    if path is None:
        return address
    # Imported here, because most commands need none of it.
    from assets.named_models import store_model
    from resources.compute.contract import JobRefused
    from resources.storage.object_store import ObjectStore

    settings = Settings()
    objects = ObjectStore(settings.object_root, settings.state / "cache")
    try:
        return store_model(path, objects)
    except JobRefused as error:
        raise typer.BadParameter(str(error)) from error
