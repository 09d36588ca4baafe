"""What is no longer kept, planned and removed with the adapters of the platform."""

from api.context import Platform
from resources.collection.collector import Collector
from resources.collection.world import Places, Work
from resources.datasets.store import DatasetStore
from resources.orchestration.history import RunHistory, values_of
from scheduler import jobs


def collector_of(platform: Platform, only: frozenset[str] | None = None) -> Collector:
    """What plans and removes; `only` names projects, by default all and what belongs to none."""

    def under_way() -> list[Work]:
        with platform.control.read() as connection:
            going = jobs.not_ended(connection)
        return [
            Work(frozenset({job.project}), job.created_at, frozenset(values_of(job.spec)))
            for job in going
        ]

    places = Places(
        platform.settings,
        platform.objects,
        DatasetStore(platform.objects),
        platform.evidence,
        platform.tracking,
        platform.runtime,
        RunHistory(platform.events),
        under_way,
    )
    return Collector(places, platform.events, platform.projects.usable, only)
