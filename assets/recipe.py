"""What a training learns from: its recipe, by which a second training is known to add nothing."""

import hashlib
import json

from dagster import AssetExecutionContext

from projects.loading import LoadedProject
from resources.revision import project_revision, revision
from resources.tracking.adapter import Tracking
from resources.tracking.registry import registered_name
from training.contract import TrainingSpec

RECIPE_TAG = "orrery.recipe"
TRIGGER_TAG, DRIFT = "trigger", "drift"
"""Tag of a dagster_run that a sensor started, and its value where requests have drifted."""


def recipe_of(project: LoadedProject, spec: TrainingSpec) -> str:
    """Digest of trainer, code, data, hyperparameters and seed: equal recipes give equal models,
    as far as a trainer repeats itself."""
    code = project_revision(project.file.parent)
    parts = {
        "trainer": spec.trainer,
        "code": [code.name, code.diff, revision()],
        "dataset": spec.dataset.version if spec.dataset else None,
        "features": [spec.dataset.features, spec.dataset.label] if spec.dataset else None,
        "hyperparameters": spec.hyperparameters,
        "seed": spec.seed,
        "workers": spec.workers,
        # Only where there is one, so that the recipes of others stay what they were.
        **({"search": spec.search.model_dump(mode="json")} if spec.search else {}),
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def is_new_code(tracking: Tracking, project: LoadedProject, model: str) -> bool:
    """Whether no version of the model was made from the project's code as it is now.

    Raises TrackingUnavailable.
    """
    code = project_revision(project.file.parent)
    newest = tracking.find(registered_name(project.name, model), None)
    known = newest.tags.get("orrery.project_revision") if newest else None
    # All uncommitted states of a commit are named `COMMIT-dirty`, so such code is always new.
    return known != code.name or bool(code.diff)


def adds_nothing(
    context: AssetExecutionContext,
    tracking: Tracking,
    project: LoadedProject,
    model: str,
    recipe: str,
) -> bool:
    """Whether the dagster_run reacts to drift and there is nothing new to learn, which the log
    then says. Raises TrackingUnavailable."""
    if context.run.tags.get(TRIGGER_TAG) != DRIFT:
        return False
    newest = tracking.find(registered_name(project.name, model), None)
    if newest is None or newest.tags.get(RECIPE_TAG) != recipe:
        return False
    context.log.warning(
        f"nothing new to learn: version {newest.version} was trained from the same data, "
        "code, hyperparameters and seed. Add data that look like the requests, such as a dataset "
        "with `source: requests:SERVICE`, and it will be trained again"
    )
    return True
