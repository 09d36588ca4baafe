"""The search of one training job, from its first trial to the best one's checkpoint."""

import time
from collections import Counter
from pathlib import Path
from typing import Any

from projects.search import Search
from training.contract import SearchResult, TrainingSpec
from training.fitted import Fitted
from training.search.pictures import draw, write_table
from training.search.study import Study
from training.search.trial_runs import NoRuns, TrialRuns
from training.search.tuner import run


def search(spec: TrainingSpec, wanted: Search, given: dict[str, Any], *, use_gpu: bool) -> Fitted:
    """The best trial of the search, on the Ray that this process is connected with; `given` is the
    config of the job's trainer.

    Raises Refused where no trial can be used, TryAgain where the surroundings failed.
    """
    began = time.time()
    resumed = (spec.workdir / "search").exists()
    runs = TrialRuns(spec, spec.tracking, resumed=resumed) if spec.tracking else NoRuns()
    try:
        study = Study(spec, wanted, runs, _holds_model)
        run(spec, wanted, study, given, use_gpu=use_gpu)
    finally:
        runs.close()
    best = study.require_best()
    states = Counter(trial.state for trial in study.trials)
    found = SearchResult(
        metric=wanted.metric,
        trials=len(study.trials),
        states=dict(states),
        best=best.number,
        value=best.value or 0.0,
        values=best.values,
        table=write_table(study.trials, spec.workdir),
    )

    def draw_search(pictures: Path) -> None:
        draw(wanted, study.trials, study.sampler.study, pictures)

    return Fitted(
        checkpoint=study.checkpoint,
        history=study.book.history(best.number),
        resumed_from=study.resumed_from,
        first_report_at=began,
        search=found,
        draw=draw_search,
    )


def _holds_model(checkpoint: Path) -> bool:
    # Loading it takes seconds, which the first trial need not wait for.
    from training.export import holds_model

    return holds_model(checkpoint)
