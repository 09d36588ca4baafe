"""Checkpoints of training jobs."""

from collections import defaultdict
from collections.abc import Iterator
from typing import NamedTuple

from projects.retention import KeptCheckpoints
from resources.collection.item import Item
from resources.collection.models import digests, folders
from resources.collection.world import Places, World
from resources.orchestration.events import DagsterEvents, Materialised
from resources.orchestration.history import Made
from resources.tracking.registry import RegisteredVersion

FAMILY = "checkpoint"
PAGE = 200


class _Owner(NamedTuple):
    project: str
    model: str


class _Known(NamedTuple):
    """What a materialisation says of a checkpoint."""

    artefact: str
    value: float | None


def checkpoint_items(
    places: Places,
    events: DagsterEvents,
    world: World,
    made: list[Made],
    versions: list[RegisteredVersion],
) -> Iterator[Item]:
    """Every checkpoint of the object store."""
    owners, newest = _owners(made), _newest(made)
    for uri, project, model in places.tracking.reached():
        owners[uri.rpartition("/")[2]].add(_Owner(project, model))
    known = _known(events, world, owners)
    there = list(folders(places, "checkpoints/"))
    times: dict[_Owner, list[float]] = defaultdict(list)
    for digest, at, _ in there:
        for owner in owners.get(digest, ()):
            times[owner].append(at)
    since = {owner: world.newest_for_work(owner.project, ats) for owner, ats in times.items()}
    named = digests(world, versions)
    for digest, at, size in there:
        mine = sorted(owners.get(digest, ()))
        owner = mine[0] if mine else _Owner("", "")
        said = known.get(digest, _Known("", None))
        why = ""
        if digest in newest or (mine and at >= since[owner]):
            why = "is the newest, or was when work under way began"
        elif len(mine) > 1:
            why = "several models have it"
        elif said.artefact in named:
            why = "a model version that stays came from it"
        elif any(digest in text for work in world.work for text in work.mentions):
            why = "work under way names it"
        yield Item(
            *("checkpoint", "checkpoints", owner.project, owner.model, digest, at, size, why),
            value=said.value,
        )


def _owners(made: list[Made]) -> dict[str, set[_Owner]]:
    """Projects and models by the digest of the checkpoint."""
    owners: dict[str, set[_Owner]] = defaultdict(set)
    for each in made:
        if len(each.asset) == 3 and each.asset[1] == FAMILY:
            model = each.asset[2].removesuffix(f"_{FAMILY}")
            owners[each.data_version].add(_Owner(each.asset[0], model))
    return owners


def _newest(made: list[Made]) -> set[str]:
    """Digests of the newest checkpoint of every model: the next version is registered from it."""
    of_asset = {e.asset: e.data_version for e in made if e.asset[1:2] == (FAMILY,)}
    return set(of_asset.values())


def _known(
    events: DagsterEvents, world: World, owners: dict[str, set[_Owner]]
) -> dict[str, _Known]:
    """What is known of the checkpoints of projects that bound them."""
    known: dict[str, _Known] = {}
    every = sorted({owner for each in owners.values() for owner in each})
    for owner in every:
        declared, _ = world.policies.of(owner.project, "checkpoints")
        if declared is None:
            continue
        metric = declared.metric if isinstance(declared, KeptCheckpoints) else None
        for each in _materialised(events, owner):
            digest = str(each.metadata.get("uri", "")).rpartition("/")[2]
            measured = each.metadata.get(metric or "")
            value = float(measured) if isinstance(measured, int | float) else None
            known[digest] = _Known(str(each.metadata.get("artefact_digest", "")), value)
    return known


def _materialised(events: DagsterEvents, owner: _Owner) -> Iterator[Materialised]:
    key, before = [owner.project, FAMILY, f"{owner.model}_{FAMILY}"], None
    while page := events.materialisations(key, PAGE, before):
        yield from page
        before = page[-1].number
