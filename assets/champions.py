"""The champion of a model, as the steps after it take it."""

import dagster as dg
from dagster import AssetExecutionContext

from assets.keys import asset_key
from assets.metadata import text_of
from assets.upstream import made_here
from projects.loading import LoadedProject
from resources.tracking.adapter import Tracking
from resources.tracking.registry import RegisteredVersion, registered_name


def champion_of(
    context: AssetExecutionContext, project: LoadedProject, model: str, tracking: Tracking
) -> RegisteredVersion:
    """The champion that the dagster_run of the step made, else the newest.

    Raises dg.Failure where there is none, or TrackingUnavailable.
    """
    registered = registered_name(project.name, model)
    if made := made_here(context, asset_key(project.name, "champion", model)):
        return tracking.version(registered, int(text_of(made, "model_version")))
    champion = tracking.aliased(registered, "champion")
    if champion is None:
        raise dg.Failure(
            description=f"{registered} has no champion; materialise "
            f"{project.name}/champion/{model}, which needs passing simulations",
            allow_retries=False,
        )
    return champion
