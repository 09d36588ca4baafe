"""Kinds of suites are open: another distribution adds one without a change here."""

import os
import subprocess
import sys
from importlib.metadata import EntryPoint

from api.cli.suite_reference import markdown
from projects.loading import CHECKOUT
from projects.suite_kinds import suite_kinds

KIND = """
from typing import Literal
import numpy as np
from simulations.kind import SuiteKind
from simulations.outcomes import Outcomes, Scenario

class Moon(SuiteKind):
    '''Held-out rows by the light of the moon; metric: brightness.'''
    kind: Literal["moon"]
    phases: list[float]

    def metrics(self):
        return ("brightness",)

    def misfit(self, model, dataset):
        return ""

    def outcomes(self, run):
        scenarios = [Scenario(f"phase {each:g}", {}, True) for each in self.phases]
        values = np.tile(np.array(self.phases)[:, None, None], (1, 1, 4))
        return [Outcomes("brightness", True, scenarios, [0], values, seeds_repeat_units=True)]
"""
PROJECT = """
project: night
owner: team:owls
models: {owl: {trainer: "moonlight:train"}}
simulations:
  full: {model: owl, suite: {kind: moon, phases: [0.5, 1]}, gate: {brightness: {at_least: 0.1}}}
services: {api: {model: owl}}
"""


def test_another_distribution_adds_a_kind(tmp_path):
    (tmp_path / "moonlight.py").write_text(KIND + "\n\ndef train(config):\n    pass\n")
    about = tmp_path / "moonlight-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: moonlight\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[orrery.suites]\nmoon = moonlight:Moon\n")
    (tmp_path / "projects").mkdir()
    (tmp_path / "projects" / "night.yaml").write_text(PROJECT)

    ended = subprocess.run(
        [sys.executable, "-c", "from api.cli.main import main; main()", "check", "projects"],
        check=False,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": f"{CHECKOUT}:{tmp_path}"},
    )

    assert ended.returncode == 0, ended.stderr
    assert "night: 0 datasets, 1 model, 1 simulation, 1 service" in ended.stdout


def test_a_kind_that_cannot_be_loaded_leaves_the_others(monkeypatch, caplog):
    broken = EntryPoint(name="moon", value="no_such_module:Moon", group="orrery.suites")
    monkeypatch.setattr("projects.registered.entry_points", lambda group: [broken])

    found = suite_kinds.__wrapped__()

    assert "moon" not in found
    assert "tabular" in found
    assert "moon of orrery.suites (no_such_module:Moon) cannot be loaded" in caplog.text


def test_a_kind_has_the_name_of_its_module():
    for name, kind in suite_kinds().items():
        assert kind.model_fields["kind"].annotation.__args__ == (name,)


def test_every_field_of_every_kind_is_documented():
    kept = (CHECKOUT / "docs" / "suites.md").read_text(encoding="utf-8")

    assert kept == markdown(), "run `orrery suites > docs/suites.md`"
    assert "|  |" not in kept, "a field has no docstring"
