"""The dispatcher over a Dagster that fails, loses answers, forgets, and takes its time.

The real Dagster does the same work in test_jobs and test_bad_input.
"""

import asyncio
import contextlib
import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from api.context import Platform
from api.jobs import dispatcher, standings
from api.jobs.callbacks import Callbacks
from api.jobs.dispatcher import Dispatcher
from api.jobs.stopping import stop
from api.settings import GatewaySettings
from resources.kubernetes_api.settings import ClusterSettings
from resources.orchestration.events import Outcome, RunState
from resources.orchestration.failed_steps import NO_STEP, FailedStep
from resources.orchestration.graphql import DagsterUnavailable, LaunchRefused, NotDefined
from resources.settings import Settings
from scheduler import deliveries, jobs
from scheduler.states import ENDED
from tests.waiting import PATIENCE_S, until

GOOD = Outcome({"dataset": {"version": "abc", "ran_s": 2.5}}, [], False, NO_STEP)
BAD = Outcome({}, [], False, FailedStep("the disk is full", "outage", ("no space left",)))


class Dagster:
    """Dagster's API and its records, as unkind as a test wants them."""

    def __init__(self) -> None:
        self.faults: list[Exception] = []
        """Raised by the next launches, in order."""
        self.loses_an_answer = False
        """Whether the next launch starts a dagster_run, and its answer is lost."""
        self.runs: dict[str, RunState] = {}
        self.jobs: dict[str, str] = {}
        """Dagster_run by the job in its tag."""
        self.retries: dict[str, str] = {}
        self.outcome = GOOD
        self.launches: list[str] = []
        self.terminated: list[str] = []
        self.is_asked = False
        """Whether a launch has begun."""
        self.starts_as = "STARTED"
        self.report: dict[str, Any] = {}
        """What the newest report says of the state of the work."""
        self.trouble = ""
        """What keeps the workers of dagster_runs from starting."""
        self.queue, self.away = "", ""
        """What queued dagster_runs wait for."""
        self.looks_at_the_queue = 0

    async def launch(self, job: str, assets: Any, config: Any, tags: dict, user: str) -> str:
        self.launches.append(job)
        if self.faults:
            raise self.faults.pop(0)
        run_id = f"run {len(self.runs) + 1}"
        self.set(run_id, self.starts_as)
        if self.starts_as == "STARTED":
            self.start(run_id)
        self.jobs[tags["orrery/job"]] = run_id
        if self.loses_an_answer:
            self.loses_an_answer = False
            raise DagsterUnavailable("the connection broke")
        return run_id

    async def find(self, job_id: str) -> str | None:
        return self.jobs.get(job_id)

    async def terminate(self, run_id: str) -> None:
        self.terminated.append(run_id)
        self.set(run_id, "CANCELED", ended_at=time.time())

    async def reload(self) -> None:
        pass

    def set(self, run_id: str, status: str, **more: Any) -> None:
        blank = RunState(run_id, status, None, None, None, None)
        self.runs[run_id] = self.runs.get(run_id, blank)._replace(status=status, **more)

    def start(self, run_id: str) -> None:
        self.set(run_id, "STARTED", started_at=time.time())

    def end(self, run_id: str, status: str, outcome: Outcome = GOOD, **more: Any) -> None:
        self.outcome = outcome
        self.set(run_id, status, ended_at=time.time(), **more)

    def states(self, run_ids: list[str]) -> list[RunState]:
        return [self.runs[run_id] for run_id in run_ids if run_id in self.runs]

    def outcome_of(self, run_id: str) -> Outcome:
        return self.outcome

    def progress_of(self, run_id: str) -> dict[str, Any] | None:
        return {"unit": "epoch", "done": 1, "run": run_id, **self.report}

    def trouble_of(self, run_id: str) -> str:
        return self.trouble

    def outage(self) -> str:
        return self.away

    def full_queue(self) -> str:
        self.looks_at_the_queue += 1
        return self.queue

    def retry_of(self, run_id: str) -> str | None:
        return self.retries.get(run_id)


@pytest.fixture
def dagster() -> Dagster:
    return Dagster()


@pytest.fixture
def platform(settings, flowers, monkeypatch, control_file, dagster) -> Iterator[Platform]:
    monkeypatch.setenv("ORRERY_PROJECTS", str(flowers))
    monkeypatch.setattr(dispatcher, "IDLE_S", 0.01)
    monkeypatch.setattr(dispatcher, "BUSY_S", 0.01)
    monkeypatch.setattr(standings, "LOOK_EVERY_S", 0.0)
    monkeypatch.setattr(jobs, "RETRY_S", (0.01,))
    created = Platform(Settings(), GatewaySettings(), ClusterSettings())
    created.__dict__["events"] = created.__dict__["run_workers"] = dagster
    yield created
    created.control.close()


@pytest.fixture
def work(platform, dagster):
    """Has the dispatcher work until something holds, and returns what it is."""

    def to(condition: Any) -> Any:
        async def run() -> Any:
            subject = Dispatcher(platform, dagster, Callbacks(platform))
            task = asyncio.create_task(subject.run())
            try:
                return await asyncio.wait_for(asyncio.to_thread(until, condition), PATIENCE_S)
            finally:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task

        return asyncio.run(run())

    return to


def submit(platform, name="iris", callback=None, **spec) -> str:
    launch = {"job": "materialise", "assets": [["flowers", "dataset", name]], "config": {}}
    with platform.control.write() as connection:
        job = jobs.create(
            connection,
            organization="home",
            project="flowers",
            kind="make",
            name=name,
            spec={"launch": launch, **spec},
            created_by="ada",
            key_id="key_1",
            callback=callback,
        )
    return job.id


def find(platform, job_id: str) -> jobs.Job:
    with platform.control.read() as connection:
        result = jobs.find(connection, "home", job_id)
    assert result is not None
    return result


def status(platform, job_id: str, *wanted: str) -> Any:
    """A condition: the job, once it has one of the states."""

    def holds() -> jobs.Job | None:
        job = find(platform, job_id)
        return job if job.status in wanted else None

    return holds


def test_a_job_is_started_once_and_followed_to_its_end(platform, dagster, work):
    job_id = submit(platform)
    running = work(status(platform, job_id, "running"))
    assert running.dagster_run_id == "run 1"
    dagster.end("run 1", "SUCCESS")
    done = work(status(platform, job_id, *ENDED))
    assert (done.status, done.ran_s) == ("succeeded", 2.5)
    assert done.made == {"dataset_version": "abc"}
    assert done.progress["run"] == "run 1"
    assert dagster.launches == ["materialise"]


def test_an_outage_of_dagster_ends_no_job(platform, dagster, work):
    dagster.faults = [DagsterUnavailable("away")] * 5
    job = work(status(platform, submit(platform), "running"))
    assert len(dagster.launches) == 6
    assert job.message == ""


def test_a_refusal_of_dagster_is_final_and_says_why(platform, dagster, work):
    dagster.faults = [LaunchRefused("the config does not fit")]
    job = work(status(platform, submit(platform), *ENDED))
    assert (job.status, job.message) == ("failed", "the config does not fit")
    assert len(dagster.launches) == 1


def test_a_lost_answer_starts_nothing_twice(platform, dagster, work):
    dagster.loses_an_answer = True
    job = work(status(platform, submit(platform), "running"))
    assert job.dagster_run_id == "run 1"
    assert len(dagster.launches) == 1


def test_a_job_that_dagster_takes_long_to_start_is_claimed_by_nobody_else(
    platform, dagster, work, monkeypatch
):
    monkeypatch.setattr(jobs, "CLAIM_S", 0.3)
    launch = dagster.launch

    async def slow(*arguments: Any) -> str:
        dagster.is_asked = True
        await asyncio.sleep(1.5)
        return await launch(*arguments)

    dagster.launch = slow
    job_id, taken = submit(platform), []

    def is_running() -> bool:
        # Another gateway's dispatcher looks for work meanwhile.
        with platform.control.write() as connection:
            taken.extend(jobs.claim(connection, 10) if dagster.is_asked else [])
        return find(platform, job_id).status == "running"

    work(is_running)
    assert dagster.launches == ["materialise"]
    assert taken == []


def test_a_claim_of_a_dispatcher_that_died_is_taken_up(platform, dagster, work, monkeypatch):
    job_id = submit(platform)
    with platform.control.write() as connection:
        jobs.claim(connection, 1)
    dagster.jobs[job_id] = "run 7"
    dagster.set("run 7", "STARTED", started_at=time.time())
    later = time.time() + jobs.CLAIM_S + 1
    monkeypatch.setattr(jobs.time, "time", lambda: later)
    assert work(status(platform, job_id, "running")).dagster_run_id == "run 7"
    assert dagster.launches == []


def test_a_job_waits_while_dagster_has_not_loaded_what_is_declared(platform, dagster, work):
    dagster.faults = [NotDefined("no such job")] * 3
    assert work(status(platform, submit(platform), "running"))
    assert len(dagster.launches) == 4


def test_a_job_of_what_nothing_declares_fails(platform, dagster, work):
    dagster.faults = [NotDefined("no such job")]
    job = work(status(platform, submit(platform, name="gone"), *ENDED))
    assert job.status == "failed"
    assert job.message.startswith("flowers.gone is not declared any more")


def test_definitions_that_never_load_end_the_job(platform, dagster, work, monkeypatch):
    monkeypatch.setattr(dispatcher, "MOST_LOADS", 3)
    dagster.faults = [NotDefined("no such job")] * 50
    assert work(status(platform, submit(platform), *ENDED)).status == "failed"
    assert len(dagster.launches) == 5


WAITS = "waits in queue gpus: insufficient unused quota"


def test_a_job_whose_work_waits_says_why_until_it_goes_on(platform, dagster, work):
    dagster.report = {"state": "waiting", "reason": WAITS}
    job_id = submit(platform)
    assert work(status(platform, job_id, "waiting")).message == WAITS

    dagster.report |= {"reason": "pod p has no node"}
    work(lambda: find(platform, job_id).message == "pod p has no node")
    assert find(platform, job_id).status == "waiting"

    dagster.report = {"state": "running", "reason": ""}
    assert work(status(platform, job_id, "running")).message == ""


def test_a_job_that_works_unseen_says_so_and_runs(platform, dagster, work):
    dagster.report = {"state": "running", "reason": "the Kubernetes API does not answer"}
    job_id = submit(platform)
    work(lambda: find(platform, job_id).message == "the Kubernetes API does not answer")
    assert find(platform, job_id).status == "running"


def test_a_job_whose_worker_is_refused_says_why_until_it_starts(platform, dagster, work):
    dagster.starts_as, dagster.trouble = "STARTING", "FailedCreate: exceeded quota"
    job_id = submit(platform)
    assert work(status(platform, job_id, "waiting")).message == "FailedCreate: exceeded quota"
    dagster.trouble = ""
    assert work(status(platform, job_id, "starting")).message == ""
    dagster.start("run 1")
    assert work(status(platform, job_id, "running")).message == ""


def test_a_job_in_a_full_queue_of_dagster_runs_says_so(platform, dagster, work):
    dagster.starts_as, dagster.queue = "QUEUED", "64 are under way"
    job_id = submit(platform)
    assert work(status(platform, job_id, "waiting")).message == "64 are under way"


def test_queued_jobs_wait_for_an_outage_to_end(platform, dagster, work):
    dagster.starts_as, dagster.away = "QUEUED", "waits for the Kubernetes API"
    job_id = submit(platform)
    assert work(status(platform, job_id, "waiting")).message == dagster.away
    dagster.away = ""
    assert work(status(platform, job_id, "starting")).message == ""


def test_the_queue_is_looked_at_once_for_all_that_are_in_it(platform, dagster, work, monkeypatch):
    monkeypatch.setattr(standings, "LOOK_EVERY_S", 60.0)
    dagster.starts_as, dagster.queue = "QUEUED", "64 are under way"
    waiting = [submit(platform) for _ in range(20)]
    work(lambda: all(find(platform, job).status == "waiting" for job in waiting))
    assert dagster.looks_at_the_queue == 1


def test_a_job_that_waits_again_tells_once_that_it_runs(platform, dagster, work):
    job_id = submit(platform, callback="https://example.org/hook")
    work(status(platform, job_id, "running"))
    dagster.report = {"state": "waiting", "reason": WAITS}
    work(status(platform, job_id, "waiting"))
    dagster.report = {}
    work(status(platform, job_id, "running"))
    dagster.end("run 1", "SUCCESS")
    work(status(platform, job_id, *ENDED))
    with platform.control.read() as connection:
        owed = deliveries.listed(connection, "home", job_id=job_id)
    assert sorted(d.event for d in owed) == ["job.running", "job.succeeded"]


def test_a_job_that_waits_can_be_stopped(platform, dagster, work):
    dagster.report = {"state": "waiting", "reason": WAITS}
    job_id = submit(platform)
    waiting = work(status(platform, job_id, "waiting"))
    with platform.control.write() as connection:
        jobs.ask_to_stop(connection, waiting, "ada stopped it")
    job = work(status(platform, job_id, *ENDED))
    assert (job.status, job.message) == ("stopped", "ada stopped it")


def test_a_stop_is_not_undone_by_what_was_seen_before_it(platform, dagster, work):
    job_id = submit(platform)
    running = work(status(platform, job_id, "running"))
    with platform.control.write() as connection:
        jobs.ask_to_stop(connection, running, "ada stopped it")
        assert jobs.proceed(connection, running, "waiting", message=WAITS) is None
    stopping = find(platform, job_id)
    assert (stopping.status, stopping.message) == ("stopping", "ada stopped it")


def test_what_a_job_waited_for_is_no_reason_for_its_end(platform, dagster, work):
    dagster.report = {"state": "waiting", "reason": WAITS}
    job_id = submit(platform)
    work(status(platform, job_id, "waiting"))
    dagster.end("run 1", "CANCELED")
    job = work(status(platform, job_id, *ENDED))
    assert (job.status, job.message) == ("stopped", "")


def test_a_failure_says_what_failed(platform, dagster, work):
    job_id = submit(platform)
    work(status(platform, job_id, "running"))
    dagster.end("run 1", "FAILURE", BAD, will_retry=False)
    job = work(status(platform, job_id, *ENDED))
    assert (job.status, job.message) == ("failed", "the disk is full")
    assert job.failure == {"cause": "outage", "lines": ["no space left"]}
    assert job.result == {}


def test_a_dagster_run_that_is_repeated_is_followed_into_its_repetition(platform, dagster, work):
    job_id = submit(platform)
    work(status(platform, job_id, "running"))
    dagster.set("run 2", "STARTED", started_at=time.time())
    dagster.retries["run 1"] = "run 2"
    dagster.end("run 1", "FAILURE", BAD, will_retry=True)
    work(lambda: find(platform, job_id).dagster_run_id == "run 2")
    assert find(platform, job_id).status == "running"
    dagster.end("run 2", "SUCCESS")
    job = work(status(platform, job_id, *ENDED))
    assert job.status == "succeeded"
    assert job.spec["dagster_runs"] == ["run 1", "run 2"]


def test_a_repetition_that_never_comes_ends_the_job(platform, dagster, work, monkeypatch):
    monkeypatch.setattr(dispatcher, "RETRY_WITHIN_S", 0.0)
    job_id = submit(platform)
    work(status(platform, job_id, "running"))
    dagster.end("run 1", "FAILURE", BAD, will_retry=True)
    assert work(status(platform, job_id, *ENDED)).status == "failed"


def test_a_dagster_run_that_was_deleted_ends_its_job(platform, dagster, work):
    job_id = submit(platform)
    work(status(platform, job_id, "running"))
    del dagster.runs["run 1"]
    job = work(status(platform, job_id, *ENDED))
    assert (job.status, job.message) == ("failed", "its dagster_run was deleted")


def test_a_job_that_is_to_stop_is_stopped_in_dagster_too(platform, dagster, work):
    job_id = submit(platform)
    running = work(status(platform, job_id, "running"))
    with platform.control.write() as connection:
        jobs.ask_to_stop(connection, running, "ada stopped it")
    job = work(status(platform, job_id, *ENDED))
    assert (job.status, job.message) == ("stopped", "ada stopped it")
    assert dagster.terminated == ["run 1"]


@pytest.mark.parametrize("begins", [False, True], ids=["waiting", "running"])
def test_the_callback_of_a_stopped_job_is_owed_once_whether_it_had_begun_or_not(
    platform, work, begins
):
    job_id = submit(platform, callback="https://example.org/hook")
    job = work(status(platform, job_id, "running")) if begins else find(platform, job_id)
    with platform.control.write() as connection:
        stop(platform, connection, job, "ada stopped it")
    job = work(status(platform, job_id, *ENDED))
    assert job.status == "stopped"
    with platform.control.write() as connection:
        stop(platform, connection, job, "ada stops it again")
        owed = deliveries.listed(connection, "home", job_id=job_id)
    assert [d.event for d in owed if d.event != "job.running"] == ["job.stopped"]
    assert json.loads(owed[0].body)["data"]["message"] == "ada stopped it"


def test_a_job_that_fails_while_it_is_stopped_was_stopped(platform, dagster, work):
    job_id = submit(platform)
    running = work(status(platform, job_id, "running"))
    with platform.control.write() as connection:
        jobs.ask_to_stop(connection, running, "ada stopped it")
    dagster.end("run 1", "FAILURE", BAD, will_retry=False)
    assert work(status(platform, job_id, *ENDED)).status == "stopped"


def test_a_job_that_runs_longer_than_it_may_is_stopped(platform, dagster, work):
    job_id = submit(platform, max_seconds=0.05)
    job = work(status(platform, job_id, *ENDED))
    assert job.status == "stopped"
    assert job.message == "it ran longer than its max_seconds, 0.05"


def test_one_job_that_cannot_be_followed_holds_up_no_other(platform, dagster, work):
    broken, sound = submit(platform), submit(platform)
    for job in (broken, sound):
        work(status(platform, job, "running"))
    run_ids = {job: find(platform, job).dagster_run_id for job in (broken, sound)}

    def outcome_of(run_id: str) -> Outcome:
        if run_id == run_ids[broken]:
            raise RuntimeError("these records cannot be read")
        return GOOD

    dagster.outcome_of = outcome_of
    for run_id in run_ids.values():
        dagster.end(run_id, "SUCCESS")
    assert work(status(platform, sound, *ENDED)).status == "succeeded"
    assert not find(platform, broken).has_ended
