"""The projects whose definitions a dagster_run needs, so that its process loads no others."""

from dagster import DagsterRun

PROJECT_TAG = "project"
"""Tag of a project's jobs, and so of their dagster_runs."""
ONLY_PROJECTS = "ORRERY_ONLY_PROJECTS"
"""Variable by which the process of a dagster_run gets them; see resources.settings."""


def projects_of(run: DagsterRun) -> str:
    """Names of the projects, separated by commas; empty where they are not known: all."""
    keys = [*(run.asset_selection or ()), *(c.asset_key for c in run.asset_check_selection or ())]
    # The first part of every asset's key is its project.
    names = {key.path[0] for key in keys} or {run.tags.get(PROJECT_TAG, "")}
    return ",".join(sorted(names))
