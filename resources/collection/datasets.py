"""Versions of datasets."""

from collections import defaultdict
from collections.abc import Iterator

from engine.bucket import Listed
from resources.collection.item import Item
from resources.collection.world import Places, World
from resources.orchestration.history import Made
from resources.tracking.registry import RegisteredVersion

RECORD = "version.json"


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
                why = "work under way may make it again"
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
        if len(parts) > 4:
            found[parts[1], parts[2]][parts[3]].append(each)
    return found


def _recorded_at(files: list[Listed]) -> float | None:
    """When the version was recorded; None where it is not."""
    return next((f.modified for f in files if f.key.split("/")[4:] == [RECORD]), None)
