"""The removal of one thing, after another look at what may need it."""

import shutil
from collections.abc import Callable
from pathlib import Path

from resources.collection.datasets import MAY_BE_MADE, RECORD
from resources.collection.item import Item, Kind
from resources.collection.world import Places
from resources.orchestration.history import remove_database


class StillNeeded(Exception):
    """It has become needed since it was looked at."""


class Removal:
    """Removes things of every kind."""

    def __init__(self, places: Places) -> None:
        self._places = places
        self._of: dict[Kind, Callable[[Item], None]] = {
            "model version": self._version,
            "evidence": self._object,
            "simulation results": self._object,
            "artefact": lambda item: places.objects.delete_folder(f"artefacts/{item.name}"),
            "MLflow's copy": lambda item: places.tracking.delete_files(item.name),
            "Bento": self._path_or_object,
            "checkpoint": lambda item: places.objects.delete_folder(f"checkpoints/{item.name}"),
            "dataset version": self._dataset_version,
            "data file": self._data_file,
            "log": self._path_or_object,
            "work folder": self._path_or_object,
            "dagster_run": self._run,
            "run file": lambda item: remove_database(Path(item.name)),
        }

    def remove(self, item: Item) -> None:
        """Remove it. Raises StillNeeded, OSError, or what MLflow's and Dagster's adapters raise."""
        self._of[item.kind](item)

    def _version(self, item: Item) -> None:
        name, _, number = item.name.rpartition(" ")
        version = self._places.tracking.version(name, int(number))
        if version.aliases:
            raise StillNeeded(f"it has the alias {', '.join(version.aliases)} now")
        if any(e.artefact_digest == version.artefact_digest for e in self._places.runtime.in_use()):
            raise StillNeeded("it serves now")
        self._places.tracking.delete_version(name, int(number))

    def _dataset_version(self, item: Item) -> None:
        self._require_rest(item)
        self._places.objects.delete_folder(item.name, first=RECORD)

    def _data_file(self, item: Item) -> None:
        self._require_rest(item)
        self._places.objects.delete(item.name)

    def _require_rest(self, item: Item) -> None:
        """Raises StillNeeded while the dataset may be made: equal rows have the same names."""
        _, project, name, *_ = item.name.split("/")
        for run in self._places.history.going():
            concerns = not run.projects or project in run.projects
            if concerns and (not run.makes or (project, "dataset", name) in run.makes):
                raise StillNeeded(MAY_BE_MADE)

    def _run(self, item: Item) -> None:
        workers = self._places.settings.state.absolute() / "workers"
        (workers / f"{item.name}.log").unlink(missing_ok=True)
        self._places.history.remove(item.name)

    def _object(self, item: Item) -> None:
        self._places.objects.delete(item.name)

    def _path_or_object(self, item: Item) -> None:
        path = Path(item.name)
        if not path.is_absolute():
            if item.kind == "work folder":
                self._places.objects.delete_folder(item.name, first="result.json")
            else:
                self._places.objects.delete(item.name)
        elif path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
