"""Output of processes and steps. Logs of what `orrery up` keeps running are bounded by rotation."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from resources.collection.item import Item
from resources.collection.models import measure
from resources.collection.world import Places, World

OUTPUT = "compute-logs/storage/"
"""Where the output of steps lies in a bucket."""


def log_items(places: Places, world: World, projects: Mapping[str, str]) -> Iterator[Item]:
    """Every log; `projects` has the project by the id of the dagster_run."""
    state = places.settings.state.absolute()
    going = {each.run_id for each in world.runs}

    def of_run(run: str, name: str, at: float, size: int) -> Item:
        why = "its dagster_run is under way" if run in going else ""
        return Item("log", "logs", projects.get(run, ""), "", name, at, size, why)

    for file in sorted((state / "workers").glob("*")):
        there = file.stat()
        yield of_run(file.stem, str(file), there.st_mtime, there.st_size)
    for folder in sorted((state / "logs").glob("*")):
        yield of_run(folder.name, str(folder), *measure(folder))
    if not places.objects.is_local:
        for each in places.objects.listed(OUTPUT):
            run = each.key.removeprefix(OUTPUT).partition("/")[0]
            yield of_run(run, each.key, each.modified, each.size)
    yield from _of_services(state / "services", world)


def _of_services(services: Path, world: World) -> Iterator[Item]:
    used = [(each.service, each.version) for each in world.in_use]
    for file in sorted(services.glob("*/logs/*.log*")):
        service = file.parent.parent.name
        is_used = any(s in ("", service) and file.name.startswith(f"{v}-s") for s, v in used)
        why = "its service runs" if is_used else ""
        there = file.stat()
        project = service.partition(".")[0]
        yield Item("log", "logs", project, "", str(file), there.st_mtime, there.st_size, why)
