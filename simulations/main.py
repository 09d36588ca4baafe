"""One simulation job as a process: `python -m simulations.main SPEC`.

Reads a SimulationSpec, runs its suite against the artefact, and writes a SimulationResult.
"""

import os
import sys
import time

from engine import lease
from engine.artefact import ArtefactCorrupt, sha256_of
from engine.protocol import Refused, end_process, run_engine
from projects.suite_kinds import read_suite
from simulations import pictures
from simulations.contract import SimulationResult, SimulationSpec
from simulations.evidence import Evidence, suite_digest
from simulations.held_out import HeldOut
from simulations.intervals import measure
from simulations.kind import SuiteKind, SuiteRun
from simulations.outcomes import write_outcomes
from simulations.subject import Subject


def work(spec: SimulationSpec) -> SimulationResult:
    """The evidence that the suite gives of the artefact.

    Raises Refused when the artefact or the suite cannot be used.
    """
    lease.hold(spec.workdir)
    lease.stop_when_abandoned(spec.workdir, spec.lease_s)
    os.environ.update(spec.env_vars)
    return simulate(spec)


def simulate(spec: SimulationSpec) -> SimulationResult:
    """The same, in a process that no driver waits for."""
    suite = read_suite(spec.suite)
    assert isinstance(suite, SuiteKind)
    try:
        subject = Subject(spec.artefact, spec.artefact_digest)
    except ArtefactCorrupt as error:
        raise Refused(str(error)) from error
    held_out = HeldOut(subject, spec.rows, spec.label, spec.simulation, spec.model)
    started = time.monotonic()
    run = SuiteRun(
        subject,
        held_out,
        spec.workdir,
        tuple(spec.python_path),
        f"{spec.artefact_digest} {suite_digest(spec.suite)}",
    )
    outcomes = suite.outcomes(run)
    seconds = time.monotonic() - started
    measurements = [m for each in outcomes for m in measure(each, suite.confidence)]
    results = spec.workdir / "results.parquet"
    write_outcomes(outcomes, results)
    drawn = pictures.save(suite.draw(measurements), spec.workdir / "pictures")
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
        steps=suite.evaluations(outcomes),
        seconds=seconds,
    )


if __name__ == "__main__":
    end_process(run_engine(SimulationSpec, work, sys.argv))
