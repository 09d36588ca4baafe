"""The shipped projects, as they are declared, reach a champion."""

import pytest

from projects.loading import CHECKOUT, load_project

FAMILIES = ("dataset", "checkpoint", "model", "simulation", "champion")


@pytest.mark.parametrize(
    ("project", "model"), [("digits", "reader"), ("cartpole", "balancer"), ("wine", "taster")]
)
def test_a_shipped_project_passes_its_own_gate(loop, project, model):
    loop.project = load_project(CHECKOUT / "projects" / f"{project}.yaml")
    result = loop.materialize(*FAMILIES)
    assert result.success, loop.failure_of(result)
    champion = loop.tracking.aliased(f"{project}.{model}", "champion")
    assert champion.artefact_digest == loop.metadata("champion", model)["artefact_digest"]
