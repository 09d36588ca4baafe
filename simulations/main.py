"""One simulation job as a process: `python -m simulations.main SPEC`.

Reads a SimulationSpec, runs its suite against the artefact, and writes a SimulationResult.
"""

import sys
import time
from contextlib import closing

import numpy as np

from engine import lease
from engine.artefact import ArtefactCorrupt, sha256_of
from engine.protocol import Refused, end_process, run_engine
from engine.rows import read_rows
from projects.suite import SUITE, Corruptions, Episodes, Suite
from simulations import pictures
from simulations.contract import SimulationResult, SimulationSpec
from simulations.evidence import Evidence, suite_digest
from simulations.intervals import measure
from simulations.outcomes import Outcomes, write_outcomes
from simulations.subject import Subject
from simulations.trials import Trials


def work(spec: SimulationSpec) -> SimulationResult:
    """The evidence that the suite gives of the artefact.

    Raises Refused when the artefact or the suite cannot be used.
    """
    lease.hold(spec.workdir)
    lease.stop_when_abandoned(spec.workdir, spec.lease_s)
    suite = SUITE.validate_python(spec.suite)
    try:
        subject = Subject(spec.artefact, spec.artefact_digest)
    except ArtefactCorrupt as error:
        raise Refused(str(error)) from error
    started = time.monotonic()
    outcomes = _run(suite, subject, spec)
    seconds = time.monotonic() - started
    measurements = [m for each in outcomes for m in measure(each, suite.confidence)]
    results = spec.workdir / "results.parquet"
    write_outcomes(outcomes, results)
    drawn = pictures.draw(suite, measurements, spec.workdir / "pictures")
    return SimulationResult(
        evidence=Evidence(
            project=spec.project,
            simulation=spec.simulation,
            model=spec.model,
            artefact_digest=spec.artefact_digest,
            suite_digest=suite_digest(spec.suite),
            measurements=measurements,
        ),
        results=results,
        results_digest=sha256_of(results),
        pictures=drawn,
        steps=_steps(outcomes),
        seconds=seconds,
    )


def _run(suite: Suite, subject: Subject, spec: SimulationSpec) -> list[Outcomes]:
    if isinstance(suite, Episodes):
        # Only the libraries of the suite at hand are loaded; torch and ART alone take seconds.
        from simulations import episodes

        with closing(Trials(spec.workdir, episodes.trials_in(suite))) as trials:
            return episodes.run(suite, subject, trials)
    rows, labels = _held_out(spec, subject)
    if isinstance(suite, Corruptions):
        from simulations import corruptions

        with closing(Trials(spec.workdir, corruptions.trials_in(suite))) as trials:
            return corruptions.run(suite, subject, rows, labels, trials)
    from simulations import attack

    with closing(Trials(spec.workdir, attack.trials_in(suite, len(rows)))) as trials:
        return attack.run(suite, subject, rows, labels, trials)


def _held_out(spec: SimulationSpec, subject: Subject) -> tuple[np.ndarray, np.ndarray]:
    """Features [rows, features] and class positions [rows] of the held-out split."""
    signature = subject.signature
    if not spec.rows or spec.label is None or not signature.classes:
        raise Refused(
            f"the suite of {spec.simulation} needs held-out rows with a discrete label; the "
            f"dataset of {spec.model} has none: declare label and split"
        )
    columns = [*signature.features, spec.label]
    table = read_rows(spec.rows, columns)
    stacked = np.stack(
        [
            table.column(name).to_numpy().astype(signature.input.dtype)
            for name in signature.features
        ],
        axis=1,
    )
    position = {name: index for index, name in enumerate(signature.classes)}
    # A label that the model does not know becomes -1, which equals no prediction.
    labels = [position.get(str(value), -1) for value in table.column(spec.label).to_pylist()]
    return stacked, np.array(labels, np.int64)


def _steps(outcomes: list[Outcomes]) -> int:
    """Model evaluations behind the outcomes: one a row, or one a step an episode lasted."""
    lasted = [each for each in outcomes if each.metric == "return"]
    return int(sum(each.values.sum() for each in lasted)) or outcomes[0].values.size


if __name__ == "__main__":
    end_process(run_engine(SimulationSpec, work, sys.argv))
