"""The time limits of a job, over sequences of looks."""

import hypothesis.strategies as st
import pytest
from hypothesis import given

from resources.compute.contract import JobRefused
from resources.compute.job_clock import JobClock, Limits

LIMITS = Limits(timeout_s=100, stall_s=10, stuck_s=30)
looks = st.lists(st.tuples(st.floats(0, 50), st.booleans(), st.booleans(), st.booleans()))


def clock(limits: Limits = LIMITS) -> JobClock:
    return JobClock(limits, now=0.0)


def refusal(subject: JobClock) -> str:
    """Why the job is refused; empty while it may go on."""
    try:
        subject.require_time("no node has a GPU", lambda: "the last lines")
    except JobRefused as refused:
        return str(refused)
    return ""


def test_a_job_that_runs_too_long_is_refused():
    subject = clock()
    for second in range(1, 101):
        subject.look(second, has_reported=True)
        assert refusal(subject) == ""
    subject.look(101, has_reported=True)
    assert refusal(subject) == "the job ran longer than 100 s and was stopped"


def test_a_silent_job_is_refused_with_its_last_words():
    subject = clock()
    subject.look(10, has_reported=False)
    assert refusal(subject) == ""
    subject.look(10.5, has_reported=False)
    assert refusal(subject).startswith("the job reported nothing for 10 s and was stopped as hung")
    assert refusal(subject).endswith("\nthe last lines")


def test_a_report_of_a_look_that_took_long_counts():
    subject = clock()
    subject.look(60, has_reported=True)
    assert refusal(subject) == ""


def test_a_job_that_waits_for_its_turn_is_neither_silent_nor_using_its_time():
    subject = clock()
    for second in range(1, 1000):
        subject.look(second, has_reported=False, is_running=False)
    assert refusal(subject) == ""
    assert subject.ran_s == 0


def test_a_job_that_cannot_start_is_refused_with_what_keeps_it():
    subject = clock()
    subject.look(20, has_reported=False, is_running=False, is_stuck=True)
    assert refusal(subject) == ""
    subject.look(31, has_reported=False, is_running=False, is_stuck=True)
    assert refusal(subject) == "the job cannot start: no node has a GPU"


def test_what_passes_by_itself_begins_the_patience_anew():
    subject = clock()
    subject.look(29, has_reported=False, is_running=False, is_stuck=True)
    subject.look(30, has_reported=False, is_running=False)
    subject.look(59, has_reported=False, is_running=False, is_stuck=True)
    assert refusal(subject) == ""


@given(looks)
def test_the_time_a_job_ran_is_that_of_its_running_looks(looks):
    subject, now, ran_s = clock(), 0.0, 0.0
    for passed, has_reported, is_running, is_stuck in looks:
        now += passed
        ran_s += passed if is_running else 0
        subject.look(now, has_reported=has_reported, is_running=is_running, is_stuck=is_stuck)
    assert subject.ran_s == pytest.approx(ran_s)


@given(looks)
def test_a_job_that_reports_at_every_look_is_refused_for_its_length_alone(looks):
    subject, now = clock(), 0.0
    for passed, _, is_running, _ in looks:
        now += passed
        subject.look(now, has_reported=True, is_running=is_running)
        assert refusal(subject).startswith("the job ran longer") == (subject.ran_s > 100)
