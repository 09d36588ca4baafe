"""The adapter to MLflow's experiments as people and programs use them: look, compare, log.

timeout, retry: the client's, as set where it connects.
cancel: a run that nobody ends stays RUNNING.
duplicate: a run created twice is two runs; a metric logged twice at one step has two values.
partial write: a batch of metrics is one transaction of MLflow.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from resources.tracking.adapter import EXPERIMENT_TAGS, JOB_TAG, REACHED_TAG
from resources.tracking.runs import LoggedRun, Runs

PROJECT_TAG = "orrery.project"
COUNTED = 1_000
"""Runs of one page while they are counted."""
PAGE = 200
DEFAULT = "Default"
"""MLflow makes this experiment by itself, and it belongs to no project."""


class TrackedExperiment(NamedTuple):
    """An experiment of MLflow."""

    id: str
    name: str
    project: str
    url: str
    created_at: float


class Listing(NamedTuple):
    """A page of runs."""

    runs: list[LoggedRun]
    next: str | None


class ExperimentExists(Exception):
    """An experiment of this name is there already."""


class BadCursor(Exception):
    """A place in a list that MLflow does not know."""


class Experiments(Runs):
    """MLflow's experiments, their runs and metrics."""

    def newest(
        self, before: str | None = None, project: str | None = None
    ) -> Iterator[TrackedExperiment]:
        """Every experiment of a project, or of the one that is named, newest first; those before
        that of the id.

        MLflow is asked for a page whenever the one before is used up. Raises BadCursor for an id
        that was never an experiment's, or TrackingUnavailable.
        """
        last = None if before is None else self._age(self._known(before))
        found = self._searched(f"name != '{DEFAULT}'" + _until(last))
        if project is not None:
            names = [f"name = '{project}'", f"name LIKE '{project}/%'"]
            both = [each for name in names for each in self._searched(name)]
            found = iter(sorted(both, key=self._age, reverse=True))
        for each in found:
            if last is None or self._age(each) < last:
                experiment = self._experiment(each)
                # LIKE takes an underscore of the name for any letter.
                if project in (None, experiment.project):
                    yield experiment

    def _known(self, experiment_id: str) -> Any:
        from mlflow.exceptions import MlflowException

        with self._answers():
            try:
                # Also of one that was deleted since.
                return self._client.get_experiment(experiment_id)
            except MlflowException as error:
                if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                    raise BadCursor("the cursor is none of this list") from error
                raise

    @staticmethod
    def _age(experiment: Any) -> tuple[int, int]:
        return experiment.creation_time or 0, int(experiment.experiment_id)

    def _searched(self, query: str) -> Iterator[Any]:
        token: str | None = None
        while True:
            with self._answers():
                page = self._client.search_experiments(
                    filter_string=query,
                    max_results=PAGE,
                    order_by=["creation_time DESC", "experiment_id DESC"],
                    page_token=token,
                )
            yield from page
            if not (token := page.token):
                return

    def find(self, experiment_id: str) -> TrackedExperiment | None:
        """The experiment, or None. Raises TrackingUnavailable."""
        from mlflow.exceptions import MlflowException

        with self._answers():
            try:
                found = self._client.get_experiment(experiment_id)
            except MlflowException as error:
                # MLflow answers the second to an id that is not of its form.
                if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                    return None
                raise
        is_ours = found.lifecycle_stage == "active" and found.name != DEFAULT
        return self._experiment(found) if is_ours else None

    def require_new(self, project: str, name: str) -> None:
        """Return when there is no such experiment. Raises ExperimentExists."""
        with self._answers():
            existing = self._client.get_experiment_by_name(f"{project}/{name}")
        if existing is not None:
            raise ExperimentExists(f"project {project} has an experiment {name!r} already")

    def create(self, project: str, name: str) -> TrackedExperiment:
        """A further experiment of the project. Raises ExperimentExists or TrackingUnavailable."""
        full = f"{project}/{name}"
        self.require_new(project, name)
        with self._answers():
            tags = {**EXPERIMENT_TAGS, PROJECT_TAG: project}
            created = self._client.create_experiment(full, f"{self._artifacts}/{full}", tags)
            return self._experiment(self._client.get_experiment(created))

    def runs(
        self,
        experiments: Sequence[str],
        *,
        limit: int,
        cursor: str | None = None,
        status: str | None = None,
        tags: dict[str, str] | None = None,
        having: Sequence[str] = (),
        metric: str | None = None,
        ascending: bool = False,
    ) -> Listing:
        """Runs of the experiments, newest first or the best of the metric first, which have these
        tags with these values, and others with any.

        Raises BadCursor or TrackingUnavailable.
        """
        conditions = [f"attributes.status = '{status}'"] if status else []
        conditions += [f"tags.`{key}` = '{value}'" for key, value in (tags or {}).items()]
        conditions += [f"tags.`{key}` != ''" for key in having]
        order = ["attributes.start_time DESC"]
        if metric:
            order = [f"metrics.`{metric}` {'ASC' if ascending else 'DESC'}"]
        if cursor and not re.fullmatch(r"[A-Za-z0-9_=+/-]{1,2000}", cursor):
            raise BadCursor("the cursor is none of this list")
        with self._answers():
            try:
                page = self._client.search_runs(
                    list(experiments),
                    " and ".join(conditions),
                    max_results=limit,
                    order_by=order,
                    page_token=cursor,
                )
            except (ValueError, TypeError, KeyError) as error:
                # MLflow checks only a part of a page token.
                raise BadCursor("the cursor is none of this list") from error
        return Listing([self._run(run) for run in page], page.token or None)

    def of_job(self, project: str, identity: str) -> LoggedRun | None:
        """The run of the project's engine job with this identity, or None.

        Raises TrackingUnavailable.
        """
        with self._answers():
            experiment = self._client.get_experiment_by_name(project)
        if experiment is None:
            return None
        runs = self.runs([experiment.experiment_id], limit=1, tags={JOB_TAG: identity}).runs
        return runs[0] if runs else None

    def stopped(self, project: str, model: str, limit: int, cursor: str | None) -> Listing:
        """Runs of the model's trainings that were stopped and left a checkpoint, newest first.

        Raises BadCursor or TrackingUnavailable.
        """
        with self._answers():
            experiment = self._client.get_experiment_by_name(project)
        if experiment is None:
            return Listing([], None)
        return self.runs(
            [experiment.experiment_id],
            limit=limit,
            cursor=cursor,
            status="KILLED",
            tags={"orrery.model": model},
            having=(REACHED_TAG,),
        )

    def count(self, experiment: str) -> int:
        """How many runs the experiment has. Raises TrackingUnavailable."""
        page = self.runs([experiment], limit=COUNTED)
        total = len(page.runs)
        while page.next:
            page = self.runs([experiment], limit=COUNTED, cursor=page.next)
            total += len(page.runs)
        return total

    def delete(self, experiment: str) -> None:
        """Mark the experiment and its runs as deleted. Raises TrackingUnavailable."""
        with self._answers():
            self._client.delete_experiment(experiment)

    def _experiment(self, experiment: Any) -> TrackedExperiment:
        return TrackedExperiment(
            id=experiment.experiment_id,
            name=experiment.name,
            project=experiment.tags.get(PROJECT_TAG) or experiment.name.partition("/")[0],
            url=f"{self._ui}/#/experiments/{experiment.experiment_id}",
            created_at=(experiment.creation_time or 0) / 1000,
        )


def _until(age: tuple[int, int] | None) -> str:
    return "" if age is None else f" AND creation_time <= {age[0]}"
