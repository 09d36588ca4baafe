"""What a machine can never give is said before a job is taken."""

import pytest

from projects.schema import Simulation
from resources.compute.capacity import Capacity
from resources.compute.requirements import Requirements

GIB = 2**30


@pytest.mark.parametrize(
    ("gpus", "requirements", "lack"),
    [
        ([], Requirements(workers=1), ""),
        ([], Requirements(workers=1, gpus_per_worker=1), "1 GPUs; this machine has 0"),
        (["NVIDIA A100-SXM4"], Requirements(workers=1, gpus_per_worker=1), ""),
        (["NVIDIA A100-SXM4"], Requirements(workers=1, gpus_per_worker=1, gpu_kind="a100"), ""),
        (["NVIDIA A100-SXM4"], Requirements(workers=2, gpus_per_worker=1), "asks for 2 GPUs"),
        (
            ["Tesla T4", "Tesla T4"],
            Requirements(workers=1, gpus_per_worker=2, gpu_kind="A100"),
            "of kind A100",
        ),
        (
            ["Tesla T4", "NVIDIA A100"],
            Requirements(workers=1, gpus_per_worker=2, gpu_kind="A100"),
            "of kind A100",
        ),
        ([], Requirements(workers=2, memory="9Gi"), "18 GiB of memory; this machine has 16"),
    ],
)
def test_a_machine_names_what_it_lacks(gpus, requirements, lack):
    said = Capacity(gpus, 16 * GIB).lack_of(requirements)
    assert lack in said
    assert bool(lack) == bool(said)


def test_a_simulation_says_what_one_run_of_it_needs():
    declared = Simulation.model_validate(
        {
            "model": "m",
            "suite": "s.yaml",
            "resources": {"cpus": 3, "gpus": 1, "gpu_kind": "A100", "memory": "8Gi"},
            "placement": {"queue": "night", "env_vars": {"OMP_NUM_THREADS": "3"}},
        }
    )

    assert Requirements.of_simulation(declared) == Requirements(
        cpus_per_worker=3,
        gpus_per_worker=1,
        gpu_kind="A100",
        memory="8Gi",
        queue="night",
        env_vars={"OMP_NUM_THREADS": "3"},
    )
