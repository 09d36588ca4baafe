"""Attempts of one job on other machines: the newest goes on, and none is begun in secret."""

import pytest

from engine.attempt import RAY_CLUSTER, Attempt, Resubmitted, Superseded
from engine.bucket import Bucket
from tests import buckets


@pytest.fixture
def bucket(monkeypatch):
    return Bucket(f"{buckets.make_bucket(monkeypatch)}/jobs/j1")


def test_every_process_is_an_attempt_of_its_own_and_knows_its_ray_cluster(monkeypatch):
    monkeypatch.setenv(RAY_CLUSTER, "orrery-j1-abcde")

    one, other = Attempt.of_environment(), Attempt.of_environment()

    assert one.ray_cluster == other.ray_cluster == "orrery-j1-abcde"
    assert one != other


def test_the_older_attempt_gives_way(bucket):
    older, newer = Attempt("cluster-a", "1"), Attempt("cluster-b", "2")
    older, newer = older.begin(bucket), newer.begin(bucket)

    newer.require_newest(bucket)
    with pytest.raises(Superseded, match="cluster-b"):
        older.require_newest(bucket)
    assert older.writer < newer.writer


def test_a_job_that_was_forgotten_by_its_head_is_not_begun_again(bucket):
    Attempt("cluster-a", "1").begin(bucket)

    with pytest.raises(Resubmitted, match="head of cluster-a was lost"):
        Attempt("cluster-a", "2").begin(bucket)

    Attempt("cluster-a", "1").require_newest(bucket)


def test_outside_of_a_ray_cluster_a_job_may_begin_again(bucket):
    Attempt("", "1").begin(bucket)
    again = Attempt("", "2").begin(bucket)

    again.require_newest(bucket)
