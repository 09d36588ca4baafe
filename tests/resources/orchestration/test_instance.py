"""What the settings make of the Dagster instance."""

import pytest
from dagster import DagsterInstance

from resources.settings import CHECKOUT


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, 4),
        ({"ORRERY_CLUSTER_NAMESPACE": "orrery"}, 64),
        ({"ORRERY_CLUSTER_NAMESPACE": "orrery", "ORRERY_RUNS_AT_ONCE": "200"}, 200),
    ],
)
def test_on_a_cluster_more_runs_are_under_way_because_they_wait_in_queues(
    variables, expected, settings, monkeypatch
):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    with DagsterInstance.from_config(str(CHECKOUT)) as instance:
        queue = instance.get_concurrency_config().run_queue_config

    assert queue is not None
    assert queue.max_concurrent_runs == expected
