"""Dagster_runs, their files, and the work folders of their jobs."""

import json
from collections.abc import Iterator

from engine import lease
from resources.collection.item import Item
from resources.collection.models import folders, measure
from resources.collection.world import Places, World
from resources.orchestration.history import EndedRun, Made, size_of_database
from resources.storage.object_store import ObjectMissing

HOLDS = "made something that stays"


def run_items(
    places: Places, world: World, ended: list[EndedRun], made: list[Made], there: set[str]
) -> Iterator[Item]:
    """Dagster_runs that are over; `there` has the data versions of what stays."""
    newest = places.history.newest()
    holding = _holding(made, there)
    families = {each.root for each in world.runs} | {each.run_id for each in world.runs}
    for run in ended:
        why = ""
        if run.run_id in newest:
            why = "is the newest of an asset or a check"
        elif run.run_id in holding:
            why = HOLDS
        elif families & {run.run_id, run.root}:
            why = "is tried again at this moment"
        yield Item(
            *("dagster_run", "runs", run.project, "", run.run_id, run.ended_at, run.bytes, why)
        )


def _holding(made: list[Made], there: set[str]) -> set[str]:
    """Ids of the dagster_runs that made something that stays: of a dataset version the last one, as
    it is made again and again from a source that did not change."""
    staying = [each for each in made if each.data_version in there]
    last = {(e.asset, e.data_version): e.run_id for e in staying if e.asset[1:2] == ("dataset",)}
    return {*last.values(), *(e.run_id for e in staying if e.asset[1:2] != ("dataset",))}


def file_items(places: Places) -> Iterator[Item]:
    """Files of dagster_runs that there are none of any more."""
    for file in places.history.unnamed_files():
        at, size = file.stat().st_mtime, size_of_database(file)
        yield Item("run file", "runs", "", "file", str(file), at, size, is_left_over=True)


def folder_items(places: Places, world: World) -> Iterator[Item]:
    """Work folders of jobs that did not end well, here and in a bucket."""
    work = places.settings.state.absolute() / "work"
    for folder in sorted(path for path in work.glob("*") if path.is_dir()):
        at, size = measure(folder)
        spec = folder / "spec.json"
        project = _project_of(spec.read_text() if spec.exists() else "")
        why = "its engine is at work" if lease.holder(folder) is not None else ""
        yield _folder(world, project, str(folder), at, size, why)
    if places.objects.is_local:
        return
    for job, at, size in folders(places, "jobs/"):
        try:
            spec_text = places.objects.get_text(f"jobs/{job}/spec.json")
        except ObjectMissing:
            spec_text = ""
        yield _folder(world, _project_of(spec_text), f"jobs/{job}", at, size, "")


def _folder(world: World, project: str, name: str, at: float, size: int, why: str) -> Item:
    if not why and any(at >= each.began_at for each in world.work_of(project)):
        why = "it may be of work under way"
    return Item("work folder", "runs", project, "work", name, at, size, why)


def _project_of(spec: str) -> str:
    """Project that the spec of an engine names; empty where it names none."""
    try:
        said = json.loads(spec)
        return str(said.get("project") or str(said.get("service", "")).partition(".")[0])
    except (ValueError, AttributeError):
        return ""
