"""Jobs from queued to their end, on SQLite and PostgreSQL."""

import threading
import time

import pytest

from resources.database.control import new_id
from scheduler import job_lists, jobs
from scheduler.states import ENDED, GOING
from scheduler.usage import usage

ANYBODY = "home"


def create(control, **more) -> jobs.Job:
    fields = {
        "organization": ANYBODY,
        "project": "p",
        "kind": "train",
        "name": "m",
        "spec": {"seed": 1},
        "created_by": "ada",
        "key_id": "key_1",
    }
    with control.write() as connection:
        return jobs.create(connection, **fields | more)


def claim(control, limit=10) -> list[jobs.Job]:
    with control.write() as connection:
        return jobs.claim(connection, limit)


def find(control, job: jobs.Job) -> jobs.Job:
    with control.read() as connection:
        result = jobs.find(connection, job.organization_id, job.id)
    assert result is not None
    return result


def change(control, function, job: jobs.Job, *arguments, **more):
    """The job after the change."""
    with control.write() as connection:
        function(connection, job, *arguments, **more)
    return find(control, job)


def start(control, job: jobs.Job) -> jobs.Job:
    """The job, with a dagster_run."""
    claim(control)
    with control.write() as connection:
        jobs.launched(connection, job.id, f"run of {job.id}")
    return find(control, job)


def test_a_new_job_is_due_at_once_and_oldest_first(control):
    created = [create(control) for _ in range(3)]
    with control.read() as connection:
        assert jobs.has_due(connection)
    assert [job.id for job in claim(control, 2)] == [job.id for job in created[:2]]
    assert [job.id for job in claim(control, 2)] == [created[2].id]


def test_a_claimed_job_is_nobody_elses_until_the_claim_lapses(control, monkeypatch):
    job = create(control)
    assert len(claim(control)) == 1
    assert claim(control) == []
    with control.read() as connection:
        assert not jobs.has_due(connection)
    later = time.time() + jobs.CLAIM_S + 1
    monkeypatch.setattr(jobs.time, "time", lambda: later)
    (again,) = claim(control)
    assert (again.id, again.attempts) == (job.id, 1)


def test_claims_at_the_same_moment_take_each_job_once(control):
    created = {create(control).id for _ in range(20)}
    barrier, taken = threading.Barrier(4), []

    def take() -> None:
        barrier.wait()
        taken.extend(job.id for job in claim(control, 5))

    threads = [threading.Thread(target=take) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    taken += [job.id for job in claim(control, 20)]
    assert sorted(taken) == sorted(created)


def test_a_held_job_is_due_once_it_is_let_go(control):
    job = create(control, held_s=3600)
    assert claim(control) == []
    with control.write() as connection:
        jobs.make_due(connection, job.id)
    assert [each.id for each in claim(control)] == [job.id]


def test_a_job_that_is_put_off_says_why_and_comes_again_later(control, monkeypatch):
    job = create(control)
    (claimed,) = claim(control)
    waits = change(control, jobs.put_off, claimed, "Dagster does not answer")
    assert waits.message == "Dagster does not answer"
    assert waits.status == "queued"
    assert waits.due_at > time.time()
    assert claim(control) == []
    monkeypatch.setattr(jobs.time, "time", lambda: waits.due_at + 0.1)
    assert [each.id for each in claim(control)] == [job.id]


def test_the_pause_of_a_job_that_is_put_off_grows_and_has_an_end(control):
    job = create(control)
    pauses = []
    for attempts in range(20):
        before = time.time()
        waits = change(control, jobs.put_off, job._replace(attempts=attempts), "away")
        pauses.append(waits.due_at - before)
    assert pauses[0] < pauses[3]
    assert max(pauses) == pytest.approx(jobs.RETRY_S[-1], abs=5)


def test_a_launched_job_is_starting_and_not_due_any_more(control):
    job = start(control, create(control))
    assert (job.status, job.dagster_run_id) == ("starting", f"run of {job.id}")
    with control.read() as connection:
        assert [each.id for each in jobs.under_way(connection)] == [job.id]
        assert not jobs.has_due(connection)


def test_a_second_launch_of_a_job_changes_nothing(control):
    job = start(control, create(control))
    with control.write() as connection:
        jobs.launched(connection, job.id, "another")
    assert find(control, job) == job


def test_a_queued_job_is_stopped_at_once(control):
    stopped = change(control, jobs.ask_to_stop, create(control), "ada stopped it")
    assert (stopped.status, stopped.message) == ("stopped", "ada stopped it")
    assert stopped.ended_at is not None
    assert claim(control) == []


def test_a_claimed_job_is_stopping_until_it_is_known_whether_something_runs(control):
    job = create(control)
    claim(control)
    stopping = change(control, jobs.ask_to_stop, job, "ada stopped it")
    assert (stopping.status, stopping.ended_at) == ("stopping", None)
    # It is due at once, so that the dispatcher looks.
    assert [each.id for each in claim(control)] == [job.id]


def test_the_first_reason_to_stop_stands(control):
    job = start(control, create(control))
    change(control, jobs.ask_to_stop, job, "first")
    assert change(control, jobs.ask_to_stop, job, "second").message == "first"


@pytest.mark.parametrize("status", sorted(ENDED))
def test_a_job_that_has_ended_stays_as_it_is(control, status):
    ended = change(control, jobs.proceed, start(control, create(control)), status, message="so")
    assert ended.has_ended
    for other in ("running", *ENDED):
        with control.write() as connection:
            assert jobs.proceed(connection, ended, other, message="other") is None
    assert change(control, jobs.ask_to_stop, ended, "too late") == ended


@pytest.mark.parametrize("status", sorted(set(GOING) - {"queued"}))
def test_a_status_that_a_job_has_already_is_no_change(control, status):
    job = start(control, create(control))
    change(control, jobs.proceed, job, status)
    with control.write() as connection:
        assert jobs.proceed(connection, job, status) is None


def test_a_job_ends_with_everything_that_was_learned(control):
    job = start(control, create(control))
    with control.write() as connection:
        changed = jobs.proceed(
            connection,
            job,
            "succeeded",
            started_at=10.0,
            ended_at=20.0,
            ran_s=7.5,
            made={"model_version": 3},
            verdict="fail",
        )
    ended = find(control, job)
    assert ended == changed
    assert (ended.started_at, ended.ended_at, ended.ran_s) == (10.0, 20.0, 7.5)
    assert (ended.made, ended.verdict) == ({"model_version": 3}, "fail")


def test_the_time_of_a_job_is_counted_for_its_key_once(control):
    job = start(control, create(control, gpus=2))
    for _ in range(2):
        with control.write() as connection:
            jobs.proceed(connection, job, "succeeded", ran_s=3600.0)
    with control.read() as connection:
        used = usage(connection, "key_1")
    assert (used.gpu_h, used.process_h) == (2.0, 1.0)


def test_a_late_report_does_not_change_the_time_of_a_job_that_has_ended(control):
    job = start(control, create(control))
    with control.write() as connection:
        jobs.report(connection, job.id, {"done": 1, "ran_s": 5.0})
    assert find(control, job).ran_s == 5.0
    change(control, jobs.proceed, job, "succeeded", ran_s=9.0)
    with control.write() as connection:
        jobs.report(connection, job.id, {"done": 2, "ran_s": 99.0})
    late = find(control, job)
    assert (late.ran_s, late.progress) == (9.0, {"done": 2, "ran_s": 99.0})


def test_a_repeated_dagster_run_is_followed_and_the_first_is_known(control):
    job = start(control, create(control))
    again = change(control, jobs.retried, job, "second")
    third = change(control, jobs.retried, again, "third")
    assert third.dagster_run_id == "third"
    assert third.spec["dagster_runs"] == [job.dagster_run_id, "second", "third"]
    assert third.spec["seed"] == 1


def test_a_deleted_job_is_out_of_sight(control):
    job = start(control, create(control))
    with control.write() as connection:
        jobs.delete(connection, job)
        assert jobs.find(connection, ANYBODY, job.id) is not None
        jobs.proceed(connection, job, "succeeded")
        jobs.delete(connection, job)
        assert jobs.find(connection, ANYBODY, job.id) is None
        assert job_lists.listed(connection, ANYBODY) == []


def test_a_job_is_found_by_its_own_organization_alone(control):
    job = create(control)
    with control.read() as connection:
        assert jobs.find(connection, "others", job.id) is None
        assert jobs.find(connection, ANYBODY, new_id("job")) is None


def test_lists_are_newest_first_and_go_on_after_a_job(control):
    created = [create(control, project=project) for project in ("p", "q", "r", "p", "q")]
    ids = [job.id for job in reversed(created)]
    with control.read() as connection:

        def listed(**how) -> list[str]:
            return [job.id for job in job_lists.listed(connection, ANYBODY, **how)]

        assert listed() == ids
        assert listed(limit=2) == ids[:2]
        assert listed(after=ids[1]) == ids[2:]
        assert listed(projects=["p", "q"], limit=3) == [ids[0], ids[1], ids[3]]
        assert listed(projects=[]) == []
        assert listed(kind="deploy") == []
        assert listed(status="queued", name="m", kind="train") == ids


def test_past_jobs_about_the_same_thing_are_those_that_ended_well(control):
    done = start(control, create(control))
    change(control, jobs.proceed, done, "succeeded", started_at=1.0)
    failed = start(control, create(control))
    change(control, jobs.proceed, failed, "failed", started_at=1.0)
    start(control, create(control, name="other"))
    with control.read() as connection:
        past = jobs.succeeded_like(connection, ANYBODY, "train", "p", "m")
    assert [job.id for job in past] == [done.id]
