"""Versions of datasets."""

from collections import defaultdict
from collections.abc import Iterator

from engine.bucket import Listed
from resources.collection.item import Item
from resources.collection.world import Places, World
from resources.datasets.fragments import FOLDER as FRAGMENTS
from resources.orchestration.history import Made
from resources.tracking.registry import RegisteredVersion

RECORD = "version.json"
MAY_BE_MADE = "work under way may make it again"


def file_items(places: Places, world: World, gone: set[str]) -> Iterator[Item]:
    """Data files that no version names, but those that are gone or would be."""
    going: dict[tuple[str, str], set[str]] = defaultdict(set)
    for key in gone:
        _, project, name, version = key.split("/")
        going[project, name].add(version)
    shared: dict[tuple[str, str], dict[str, Listed]] = defaultdict(dict)
    for each in places.objects.listed("datasets/"):
        parts = each.key.split("/")
        if len(parts) > 4 and parts[3] == FRAGMENTS:
            shared[parts[1], parts[2]][each.key] = each
    for (project, name), files in shared.items():
        why = MAY_BE_MADE if world.makes(project, (project, "dataset", name)) else ""
        versions = frozenset(going[project, name])
        for key in places.datasets.unreferenced(project, name, 0.0, versions):
            if key in files:
                at, size = files[key].modified, files[key].size
                yield Item("data file", "versions", project, "", key, at, size, why, follows=True)


def dataset_items(
    places: Places, world: World, made: list[Made], versions: list[RegisteredVersion]
) -> Iterator[Item]:
    """Every dataset version, and what an interrupted write or removal has left of one."""
    learned = {
        (v.name.partition(".")[0], v.tags.get("orrery.dataset_version", "")) for v in versions
    }
    newest = {e.asset: e.data_version for e in made if e.asset[1:2] == ("dataset",)}
    for (project, name), folders in _datasets(places).items():
        asset = (project, "dataset", name)
        recorded = {
            v: at for v, files in folders.items() if (at := _recorded_at(files)) is not None
        }
        since = world.newest_for_work(project, recorded.values())
        for version, files in folders.items():
            why = ""
            if (project, version) in learned:
                why = "a model version that stays learned from it"
            elif newest.get(asset) == version or recorded.get(version, 0.0) >= since:
                why = "is the newest, or was when work under way began"
            elif world.makes(project, asset):
                why = MAY_BE_MADE
            elif world.mentioned(project, version):
                why = "work under way names it"
            at = recorded.get(version)
            yield Item(
                "dataset version",
                "versions",
                project,
                f"dataset {name}",
                f"datasets/{project}/{name}/{version}",
                max(file.modified for file in files) if at is None else at,
                sum(file.size for file in files),
                why,
                is_left_over=at is None,
            )


def _datasets(places: Places) -> dict[tuple[str, str], dict[str, list[Listed]]]:
    """Files by project and dataset, and by version."""
    found: dict[tuple[str, str], dict[str, list[Listed]]] = defaultdict(lambda: defaultdict(list))
    for each in places.objects.listed("datasets/"):
        parts = each.key.split("/")
        if len(parts) > 4 and parts[3] != FRAGMENTS:
            found[parts[1], parts[2]][parts[3]].append(each)
    return found


def _recorded_at(files: list[Listed]) -> float | None:
    """When the version was recorded; None where it is not."""
    return next((f.modified for f in files if f.key.split("/")[4:] == [RECORD]), None)
