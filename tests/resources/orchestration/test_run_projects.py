"""A dagster_run's process loads the projects of its assets alone."""

import dagster as dg
import pytest

from definitions import defs
from resources.orchestration.run_projects import projects_of


def run_of(*keys: str, checks: tuple[tuple[str, str], ...] = (), **tags: str) -> dg.DagsterRun:
    return dg.DagsterRun(
        job_name="turn",
        asset_selection=frozenset(dg.AssetKey(key.split("/")) for key in keys) or None,
        asset_check_selection=frozenset(
            dg.AssetCheckKey(dg.AssetKey(key.split("/")), name) for key, name in checks
        )
        or None,
        tags=tags,
    )


@pytest.mark.parametrize(
    ("run", "expected"),
    [
        (run_of("owls/dataset/songs", "owls/model/singer_model"), "owls"),
        (run_of("owls/dataset/songs", "gulls/dataset/songs"), "gulls,owls"),
        (run_of(checks=(("gulls/dataset/songs", "has_enough_rows"),)), "gulls"),
        (run_of(project="night-jars"), "night-jars"),
        (run_of(), ""),
    ],
)
def test_the_projects_are_those_of_the_assets_or_of_the_job(run, expected):
    assert projects_of(run) == expected


def test_the_jobs_of_a_project_are_whole_without_the_others(settings, monkeypatch):
    whole = defs().resolve_job_def("turn_digits")
    monkeypatch.setenv("ORRERY_ONLY_PROJECTS", "digits")
    alone = defs()

    job = alone.resolve_job_def("turn_digits")
    assert job.asset_layer.selected_asset_keys == whole.asset_layer.selected_asset_keys
    assert {key.path[0] for key in alone.resolve_asset_graph().get_all_asset_keys()} == {"digits"}
    assert projects_of(dg.DagsterRun(job_name=job.name, tags=dict(job.tags))) == "digits"
