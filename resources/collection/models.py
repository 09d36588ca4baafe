"""Model versions, and what goes with them: evidence, results, artefacts, Bentos."""

from collections.abc import Iterator
from pathlib import Path

from projects.loading import LoadedProject
from resources.collection.item import Item
from resources.collection.world import Places, World
from resources.storage.evidence import KeptEvidence
from resources.tracking.registry import RegisteredVersion
from simulations.evidence import judge

NAMED = "a model version that stays has these bytes"
FAILED = "it failed its gate, and is kept for ever"


def version_items(world: World) -> list[Item]:
    """Every version of the registry."""
    items = []
    for version in world.versions:
        project, _, model = version.name.partition(".")
        items.append(
            Item(
                "model version",
                "versions",
                project,
                f"model {model}",
                f"{version.name} {version.version}",
                version.created_at,
                0,
                world.needs_version(version),
            )
        )
    return items


def remaining(world: World, chosen: list[Item]) -> list[RegisteredVersion]:
    """Versions of the registry that stay where the chosen ones go."""
    names = {item.name for item in chosen if item.kind == "model version"}
    return [v for v in world.versions if f"{v.name} {v.version}" not in names]


def digests(world: World, versions: list[RegisteredVersion]) -> set[str]:
    """Artefacts that the versions, and everything that serves, need."""
    return {v.artefact_digest for v in versions} | {e.artefact_digest for e in world.in_use}


def evidence_items(
    places: Places, world: World, versions: list[RegisteredVersion]
) -> Iterator[Item]:
    """Evidence and, of projects that bound their versions, the results behind it."""
    named = digests(world, versions)
    needed: dict[str, str] = {}
    for each in places.objects.listed("evidence/"):
        _, digest, project, simulation, _ = each.key.split("/")
        why = NAMED if digest in named else ""
        if world.policies.of(project, "versions")[0] is not None:
            kept = KeptEvidence.model_validate_json(places.objects.get_text(each.key))
            why = why or _failure(world.projects.get(project), simulation, kept)
            result = kept.results_uri.removeprefix(f"{places.objects.root}/")
            needed[result] = why or needed.get(result, "")
        yield Item(
            *("evidence", "versions", project, "", each.key, each.modified, each.size, why),
            follows=True,
        )
    for each in places.objects.listed("simulations/"):
        project = each.key.split("/")[1]
        why = needed.get(each.key, "")
        yield Item(
            "simulation results",
            *("versions", project, "", each.key, each.modified, each.size, why),
            follows=True,
        )


def _failure(project: LoadedProject | None, simulation: str, kept: KeptEvidence) -> str:
    """Why evidence stays that no version needs: what failed is tried again for ever."""
    declared = project.declaration.simulations.get(simulation) if project else None
    if declared is None or not declared.gate:
        return ""
    try:
        return FAILED if judge(kept.evidence, declared.gate).outcome == "fail" else ""
    except (KeyError, ValueError):
        # Another gate measured other metrics.
        return ""


def artefact_items(
    places: Places, world: World, versions: list[RegisteredVersion], owners: dict[str, str]
) -> Iterator[Item]:
    """Artefacts; their projects are those of the versions that go, or of none."""
    named = digests(world, versions)
    for digest, at, size in folders(places, "artefacts/"):
        why = NAMED if digest in named else ""
        if not why and any(digest in each.mentions for each in world.work):
            why = "work under way names it"
        owner = owners.get(digest, "")
        yield Item(*("artefact", "versions", owner, "", digest, at, size, why), follows=bool(owner))


def copy_items(
    places: Places, world: World, versions: list[RegisteredVersion], owners: dict[str, str]
) -> Iterator[Item]:
    """MLflow's own copies of the files of versions that go; owners are projects by their ids."""
    needed = {version.logged_model for version in versions}
    for copy, project in sorted(owners.items()):
        size = None if copy in needed else places.tracking.size_of_files(copy)
        if size is not None:
            # It is as old as its version was, which is gone.
            yield Item("MLflow's copy", "versions", project, "", copy, 0.0, size, follows=True)


def bento_items(places: Places, world: World, versions: list[RegisteredVersion]) -> Iterator[Item]:
    """Bentos of this machine's store and of the object store."""
    numbers = {(v.name.partition(".")[0], v.version) for v in versions}
    used = {each.version for each in world.in_use}

    def item(service: str, version: str, name: str, at: float, size: int) -> Item:
        project = service.partition(".")[0]
        number = version.removeprefix("v").partition("-")[0]
        why = ""
        if version in used:
            why = "serves, or traffic may return to it"
        elif not number.isdigit() or (project, int(number)) in numbers:
            why = "its model version stays"
        return Item("Bento", "versions", project, "", name, at, size, why, follows=True)

    for folder in sorted(bento_store(places).glob("*/v*")):
        at, size = measure(folder)
        yield item(folder.parent.name, folder.name, str(folder), at, size)
    for each in places.objects.listed("bentos/"):
        _, service, version, _ = each.key.split("/", 3)
        yield item(service, version, each.key, each.modified, each.size)


def bento_store(places: Places) -> Path:
    """Folder of the Bentos on this machine."""
    return places.settings.state.absolute() / "bentoml" / "bentos"


def folders(places: Places, prefix: str) -> Iterator[tuple[str, float, int]]:
    """Name, time of the newest file, and bytes of each folder under the prefix."""
    name, at, size = "", 0.0, 0
    for each in places.objects.listed(prefix):
        first = each.key.removeprefix(prefix).partition("/")[0]
        if first != name:
            if name:
                yield name, at, size
            name, at, size = first, 0.0, 0
        at, size = max(at, each.modified), size + each.size
    if name:
        yield name, at, size


def measure(folder: Path) -> tuple[float, int]:
    """Time of the newest file of a folder of this machine, and the bytes of all."""
    at, size = folder.stat().st_mtime, 0
    for path in folder.rglob("*"):
        if path.is_file():
            there = path.stat()
            at, size = max(at, there.st_mtime), size + there.st_size
    return at, size
