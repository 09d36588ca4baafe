"""Purging of a project: an end to everything that it made and nobody else needs."""

from collections.abc import Iterator
from typing import NamedTuple

from api.collection.work import places_of
from api.context import Call
from api.operations import catalog as ops
from api.operations.operation import Done
from api.problems import Problem, not_found
from projects.loading import LoadedProject
from resources.collection.item import Item, Kind
from resources.collection.removal import Removal, StillNeeded
from resources.datasets.fragments import FOLDER as FRAGMENTS
from scheduler import job_lists
from scheduler.states import GOING

KEPT = (
    "kept: artefacts and checkpoints, which other projects with the same bytes share; the jobs and "
    "the audit; deleted runs, until MLflow's garbage collection"
)


class Holdings(NamedTuple):
    """What a project has made."""

    services: list[str]
    """Services that the runtime keeps, without the project's name."""
    models: dict[str, int]
    """Registered models and how many versions they have."""
    files: list[str]
    """Keys of dataset versions and evidence in the object store."""
    experiments: dict[str, int]
    """Experiments by id, and how many runs they have."""
    assets: int
    """Assets of which Dagster keeps events."""

    def sentences(self) -> list[str]:
        """What purging ends, in sentences."""
        sentences = [f"service {name} stops; its callers get no answer" for name in self.services]
        sentences += [f"model {name}: {count} versions" for name, count in self.models.items()]
        datasets = {"/".join(key.split("/")[2:4]) for key in self.files if _is_dataset(key)}
        sentences += [f"dataset version {version[:60]}" for version in sorted(datasets)]
        evidence = sum(not _is_dataset(key) for key in self.files)
        sentences += [f"{evidence} records of evidence"] if evidence else []
        runs = sum(self.experiments.values())
        sentences += [f"{runs} runs in {len(self.experiments)} experiments"] if runs else []
        sentences += [f"events of {self.assets} assets in Dagster"] if self.assets else []
        return sentences


def holdings_of(call: Call, qualified: str) -> Holdings:
    """What the project of this name has made, whether it is declared or not."""
    platform = call.platform
    prefix = f"{qualified}."
    statuses = platform.runtime.statuses()
    services = [s.service.removeprefix(prefix) for s in statuses if s.service.startswith(prefix)]
    files = [key for key, _ in platform.objects.keys(f"datasets/{qualified}/")]
    # Keys of evidence begin with the digest of the artefact, so all of them are listed.
    files += [
        key for key, _ in platform.objects.keys("evidence/") if key.split("/")[2] == qualified
    ]
    experiments = list(platform.experiments.newest(project=qualified))
    return Holdings(
        services=sorted(services),
        models=platform.tracking.models_of(prefix),
        files=files,
        experiments={e.id: platform.experiments.count(e.id) for e in experiments},
        assets=len(platform.events.assets_of(qualified)),
    )


def purge(call: Call, request: ops.DeleteProject) -> Done:
    """End what the project made, and the project where the API created it."""
    projects = call.platform.projects
    qualified = projects.qualified(call.principal.organization, request.project)
    declared = _purgeable(call, request.project, qualified)
    holdings = holdings_of(call, qualified)
    if declared is None and not any(holdings):
        raise not_found("project", request.project)
    require_idle(call, qualified, request.project)
    call.begin_change()
    _end(call, qualified, holdings)
    if declared is not None:
        projects.delete(call.principal, request.project)
    sentences = holdings.sentences()
    with call.platform.control.write() as connection:
        call.audited(connection, f"project/{request.project}", before={"purged": sentences})
    call.platform.declarations_changed()
    return Done(message="\n".join([f"project {request.project} is purged", *sentences, KEPT]))


def require_idle(call: Call, qualified: str, shown: str) -> None:
    """Raises the problem `conflict` while a job of the project is at work."""
    with call.platform.control.read() as connection:
        for status in GOING:
            going = job_lists.listed(
                connection,
                call.principal.organization,
                projects=[qualified],
                status=status,
                limit=1,
            )
            if going:
                text = f"job {going[0].id} of project {shown!r} is {status}"
                raise Problem("conflict", text, todo="Stop the job, or wait for its end.")


def _purgeable(call: Call, name: str, qualified: str) -> LoadedProject | None:
    """The project where the API created it; None where nothing declares it any more."""
    projects = call.platform.projects
    if projects.by_name(qualified) is not None:
        return projects.changeable(call.principal, name)
    if not call.principal.may_see(name) or name in {b.name for b in projects.broken}:
        raise not_found("project", name)
    return None


def _end(call: Call, qualified: str, holdings: Holdings) -> None:
    """Services first: nothing that answers may lose what it answers with.

    What is interrupted is found again by the next purge. Raises the problem `conflict` where a
    dagster_run may make a dataset version at this moment.
    """
    platform = call.platform
    for service in holdings.services:
        platform.runtime.undeploy(f"{qualified}.{service}")
    removal = Removal(places_of(platform))
    try:
        for item in _items(call, qualified, holdings):
            removal.remove(item)
    except StillNeeded as needed:
        text = f"a dataset of project {qualified!r} stays: {needed}"
        raise Problem("conflict", text, todo="Purge again once that is over.") from needed
    for model in holdings.models:
        platform.tracking.delete_model(model)
    # Of a project of this name that comes later, no file is known yet.
    for key, _ in platform.objects.keys(f"sensors/new_data/{qualified}/"):
        platform.objects.delete(key)
    for experiment in holdings.experiments:
        platform.experiments.delete(experiment)
    platform.events.forget_assets(qualified)


def _items(call: Call, qualified: str, holdings: Holdings) -> Iterator[Item]:
    """Files of the project, in the order in which they are removed."""

    def item(kind: Kind, name: str) -> Item:
        return Item(kind, "versions", qualified, "", name, 0.0, 0)

    for model in holdings.models:
        # Their versions go after them, because nothing else tells which files are theirs.
        for version in call.platform.tracking.versions(model):
            if version.logged_model:
                yield item("MLflow's copy", version.logged_model)
    datasets = [key for key in holdings.files if _is_dataset(key)]
    fragments = [key for key in datasets if key.split("/")[3] == FRAGMENTS]
    folders = {"/".join(key.split("/")[:4]) for key in {*datasets} - {*fragments}}
    yield from (item("dataset version", folder) for folder in sorted(folders))
    yield from (item("data file", key) for key in fragments)
    yield from (item("evidence", key) for key in holdings.files if not _is_dataset(key))


def _is_dataset(key: str) -> bool:
    return key.startswith("datasets/")
