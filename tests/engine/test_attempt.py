"""Attempts of one job on other machines: the newest goes on, and none is begun in secret."""

import json

import pytest

from engine.attempt import RAY_CLUSTER, SUBMISSION, Attempt, Resubmitted, Superseded
from engine.bucket import Bucket
from tests import buckets


@pytest.fixture
def bucket(monkeypatch):
    return Bucket(f"{buckets.make_bucket(monkeypatch)}/jobs/j1")


def test_an_attempt_knows_its_ray_cluster_and_its_submission(monkeypatch):
    monkeypatch.setenv(RAY_CLUSTER, "orrery-j1-abcde")
    monkeypatch.setenv(SUBMISSION, json.dumps({"metadata": {"job_submission_id": "orrery-j1-x"}}))

    assert Attempt.of_environment() == Attempt("orrery-j1-abcde", "orrery-j1-x")


def test_outside_of_a_ray_cluster_every_process_is_an_attempt(monkeypatch):
    monkeypatch.delenv(RAY_CLUSTER, raising=False)
    monkeypatch.delenv(SUBMISSION, raising=False)

    assert Attempt.of_environment() != Attempt.of_environment()


def test_the_older_attempt_gives_way(bucket):
    older, newer = Attempt("cluster-a", "1"), Attempt("cluster-b", "2")
    older.begin(bucket)
    newer.begin(bucket)

    newer.require_newest(bucket)
    with pytest.raises(Superseded, match="cluster-b"):
        older.require_newest(bucket)


def test_a_job_that_was_forgotten_by_its_head_is_not_begun_again(bucket):
    Attempt("cluster-a", "1").begin(bucket)

    with pytest.raises(Resubmitted, match="head was lost"):
        Attempt("cluster-a", "2").begin(bucket)

    Attempt("cluster-a", "1").require_newest(bucket)


def test_an_attempt_may_begin_twice(bucket):
    attempt = Attempt("cluster-a", "1")
    attempt.begin(bucket)

    attempt.begin(bucket)

    attempt.require_newest(bucket)
