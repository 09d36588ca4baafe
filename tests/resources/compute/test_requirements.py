"""What jobs and replicas ask for."""

import pytest

from projects.schema import Service
from resources.compute.requirements import Requirements


def service(**resources) -> Service:
    return Service.model_validate({"model": "m", "resources": resources})


@pytest.mark.parametrize(
    ("measured", "memory", "limit"),
    [
        (None, "1024Mi", "2048Mi"),
        (90, "160Mi", "1024Mi"),
        (1000, "1504Mi", "3008Mi"),
    ],
)
def test_a_replica_asks_for_what_was_measured_and_some_more(measured, memory, limit):
    asked = Requirements.of_service(service(), measured)
    assert (asked.memory, asked.memory_limit) == (memory, limit)
    assert asked.cpus_per_worker == 0.1


def test_declared_resources_of_a_replica_come_first():
    asked = Requirements.of_service(service(cpus=2, memory="4Gi"), 90)
    assert (asked.cpus_per_worker, asked.memory, asked.memory_limit) == (2, "4Gi", None)
