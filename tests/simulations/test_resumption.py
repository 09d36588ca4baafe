"""A simulation that was killed goes on after the scenarios that were measured, to equal results."""

import os

import numpy as np
import pyarrow.parquet as pq
import pytest

from engine.trial_folder import TRIALS, TrialFolder
from projects.loading import CHECKOUT
from resources.compute.local import LocalCompute
from simulations import outcomes as outcomes_module
from simulations.contract import SimulationResult, SimulationSpec
from simulations.main import simulate
from simulations.outcomes import Outcomes, Scenario, write_outcomes

KIND = """
import os, signal
from pathlib import Path
from typing import Literal
import numpy as np
from simulations.kind import SuiteKind
from simulations.outcomes import Outcomes, Scenario

class Moon(SuiteKind):
    '''By the light of the moon; metric: brightness.'''
    kind: Literal["moon"]
    phases: list[float]
    dies_at: float = -1
    calls: str

    def metrics(self):
        return ("brightness",)

    def misfit(self, model, dataset):
        return ""

    def _seen(self, phase, workdir):
        with open(self.calls, "a") as calls:
            calls.write(f"{phase}\\n")
        if phase == self.dies_at and not (workdir / "died").exists():
            (workdir / "died").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return np.random.default_rng(int(phase * 8)).normal(phase, 0.1, (len(self.seeds), 50))

    def outcomes(self, run):
        scenarios = [Scenario(f"phase {each:g}", {}, True) for each in self.phases]
        with run.trials(len(scenarios)) as trials:
            values = [
                trials.measure(s.name, lambda phase=phase: self._seen(phase, run.workdir))
                for s, phase in zip(scenarios, self.phases)
            ]
        return [Outcomes("brightness", False, scenarios, self.seeds, np.array(values), True)]
"""
IMAGE = {"height": 8, "width": 8, "low": 0, "high": 16}
JUDGE = """
def judge(predict, rows, seeds):
    table = rows.slice(0, 40)
    named = [a == b for a, b in zip(predict(table), table.column("target").to_pylist())]
    third = [each / 3 for each in named]
    return {"first": {"hits": named, "thirds": third}, "again": {"hits": named, "thirds": third}}
"""
SUITES = {
    "corruptions": {
        "image": IMAGE,
        "corruptions": {"noise": [0.2, 0.6], "shift": [0.4]},
        "seeds": [0, 1],
    },
    "tabular": {"rows": 60, "noise": [0.1, 0.5], "slices": [], "seeds": [0, 1]},
    "black_box": {"rows": 20, "queries": 5, "seeds": [0, 1]},
    "held_out": {},
    "episodes": {
        "environment": "CartPole-v1",
        "vary": {"gravity": [0.5, 2.0], "sensor_noise": [0.05]},
        "episodes": 3_000,
        "horizon": 20,
    },
    "function": {
        "run": "judging:judge",
        "measures": {"hits": "share", "thirds": "mean"},
        "seeds": [0, 1],
    },
}


def spec_of(workdir, suite, artefact, **fields):
    workdir.mkdir(parents=True, exist_ok=True)
    return SimulationSpec(
        job="job",
        workdir=workdir,
        lease_s=600,
        timeout_s=300,
        project="p",
        simulation="s",
        model="m",
        suite=suite,
        artefact=artefact[0],
        artefact_digest=artefact[1],
        **fields,
    )


@pytest.mark.parametrize("kind", SUITES)
def test_a_suite_that_was_interrupted_repeats_nothing_and_ends_as_an_uninterrupted_one(
    kind, reader_artefact, policy_artefact, held_out, tmp_path, monkeypatch
):
    (tmp_path / "judging.py").write_text(JUDGE)
    suite = {"kind": kind, **SUITES[kind]}
    artefact = policy_artefact if kind == "episodes" else reader_artefact
    fields = {"rows": [str(held_out)], "label": "target", "python_path": [str(tmp_path)]}
    whole = simulate(spec_of(tmp_path / "whole", suite, artefact, **fields))
    kept, keep = [], TrialFolder.keep

    def counted(self, name, values):
        keep(self, name, values)
        kept.append(name)
        if len(kept) == 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(TrialFolder, "keep", counted)
    spec = spec_of(tmp_path / "cut", suite, artefact, **fields)
    with pytest.raises(KeyboardInterrupt):
        simulate(spec)

    again = simulate(spec)

    trials = len(list((tmp_path / "whole" / TRIALS).glob("*.npy")))
    assert len(kept) == len(set(kept)) == trials
    assert again.results.read_bytes() == whole.results.read_bytes()
    assert again.evidence == whole.evidence
    assert again.steps == whole.steps


def test_a_killed_job_of_a_kind_from_elsewhere_goes_on_after_what_it_measured(
    policy_artefact, tmp_path, monkeypatch
):
    (tmp_path / "moonlight.py").write_text(KIND)
    about = tmp_path / "moonlight-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: moonlight\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[orrery.suites]\nmoon = moonlight:Moon\n")
    monkeypatch.setenv("PYTHONPATH", f"{CHECKOUT}:{tmp_path}")
    monkeypatch.chdir(CHECKOUT)
    compute = LocalCompute(tmp_path / "work", tmp_path / "no-warm-server")
    calls, heard = tmp_path / "calls", []

    def run(job, dies_at):
        suite = {"kind": "moon", "phases": [0.25, 0.5, 1], "calls": str(calls), "seeds": [0]}
        spec = spec_of(
            compute.workdir(job), {**suite, "dies_at": dies_at}, policy_artefact
        ).model_copy(update={"job": job})
        return compute.run("simulations.main", spec, SimulationResult, heard.append)

    killed = run("killed", 0.5)

    assert calls.read_text().split() == ["0.25", "0.5", "0.5", "1.0"]
    assert any("resuming after 1 trials" in progress.message for progress in heard)
    whole = run("whole", -1)
    assert killed.results.read_bytes() == whole.results.read_bytes()
    assert killed.evidence.measurements == whole.evidence.measurements


def outcomes_of(scenarios, units):
    values = np.random.default_rng(0).normal(size=(scenarios, 2, units))
    values[0, 0, 1] = np.nan
    names = [Scenario(f"wind {n}", {}, n % 2 == 0) for n in range(scenarios)]
    return Outcomes("return", False, names, [3, 5], values, seeds_repeat_units=True)


@pytest.mark.parametrize(("scenarios", "units"), [(7, 5), (2, 250)])
def test_results_hold_every_trial_once_in_batches(tmp_path, monkeypatch, scenarios, units):
    monkeypatch.setattr(outcomes_module, "ROWS_AT_ONCE", 100)
    given = outcomes_of(scenarios, units)

    write_outcomes([given], tmp_path / "results.parquet")

    file = pq.ParquetFile(tmp_path / "results.parquet")
    expected = [
        ("return", s.name, s.gated, seed, unit, given.values[i, k, unit])
        for i, s in enumerate(given.scenarios)
        for k, seed in enumerate(given.seeds)
        for unit in range(units)
        if not np.isnan(given.values[i, k, unit])
    ]
    assert [tuple(row.values()) for row in file.read().to_pylist()] == expected
    sizes = [file.metadata.row_group(n).num_rows for n in range(file.num_row_groups)]
    assert max(sizes) < 200
    assert len(sizes) <= 1 + len(expected) / 50


def test_results_without_a_trial_are_a_table_without_rows(tmp_path):
    given = outcomes_of(2, 3)
    given.values[:] = np.nan

    write_outcomes([given], tmp_path / "results.parquet")

    table = pq.read_table(tmp_path / "results.parquet")
    assert (table.num_rows, table.column_names[0]) == (0, "metric")
    assert os.path.getsize(tmp_path / "results.parquet") > 0
