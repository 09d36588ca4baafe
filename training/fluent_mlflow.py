"""MLflow as a trainer's own code uses it: `mlflow.log_...` and `mlflow.start_run()` reach the job's
mlflow_run, and `mlflow.set_experiment(...)` leads to an experiment of the trainer's own."""

import importlib
import importlib.abc
import importlib.util
import os
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from training.contract import MlflowRun

RUN, EXPERIMENT = "MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID"
FLUENT = "mlflow.tracking.fluent"


def enter(run: MlflowRun) -> None:
    """Point MLflow's environment variables at the job's mlflow_run."""
    os.environ["MLFLOW_TRACKING_URI"] = run.address
    os.environ[RUN] = run.run_id
    if run.experiment_id:
        os.environ[EXPERIMENT] = run.experiment_id
    if fluent := sys.modules.get(FLUENT):
        _let_experiments_be_chosen(fluent)
    else:
        # MLflow takes seconds to load, and many trainers never use it.
        sys.meta_path.insert(0, _AfterLoading())


class _AfterLoading(importlib.abc.MetaPathFinder):
    """Finds MLflow's module as others do, and changes it once it is loaded."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != FLUENT:
            return None
        # Removed first, because `find_spec` asks every finder and would call this one again.
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(fullname)
        if spec is None or spec.loader is None:
            return spec
        load = spec.loader.exec_module

        def loaded(module: ModuleType) -> None:
            load(module)
            _let_experiments_be_chosen(module)

        spec.loader.exec_module = loaded  # type: ignore[method-assign]
        return spec


def _let_experiments_be_chosen(fluent: Any) -> None:
    """MLflow refuses `start_run` in an experiment that is not that of MLFLOW_RUN_ID; a
    trainer that sets an experiment gets a run of its own there."""
    choose = fluent.set_experiment

    def set_experiment(*args: Any, **kwargs: Any) -> Any:
        os.environ.pop(RUN, None)
        return choose(*args, **kwargs)

    fluent.set_experiment = set_experiment
    # A package that is already loaded holds its own reference to the function.
    if mlflow := sys.modules.get("mlflow"):
        mlflow.set_experiment = set_experiment  # type: ignore[attr-defined]
