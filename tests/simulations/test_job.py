"""A simulation job as the platform starts it: a spec in, a result and an exit code out."""

import subprocess
import sys

import pyarrow.parquet as pq
import pytest
from PIL import Image

from engine import lease
from engine.protocol import EXIT_DONE, EXIT_REFUSED
from projects.loading import CHECKOUT
from simulations.contract import SimulationResult, SimulationSpec
from simulations.evidence import MEAN
from tests import buckets

CORRUPTIONS = {
    "kind": "corruptions",
    "image": {"height": 8, "width": 8, "low": 0, "high": 16},
    "corruptions": {"noise": [0.2, 0.6], "shift": [0.4]},
    "seeds": [0, 1],
}
ATTACK = {"kind": "linf_attack", "low": 0, "high": 16, "epsilons": [0.1]}
ROLLOUTS = {
    "kind": "episodes",
    "environment": "CartPole-v1",
    "vary": {"gravity": [0.5, 1.0], "sensor_noise": [0.05]},
    "pairs": [["gravity", "sensor_noise"]],
    "episodes": 8,
    "horizon": 60,
}


@pytest.fixture(scope="module")
def simulate(tmp_path_factory):
    """Runs a job in a process of its own; its exit code and result."""

    def run(suite, artefact, **changes):
        folder, digest = artefact
        fields = {
            "job": "job",
            "workdir": tmp_path_factory.mktemp("job"),
            "lease_s": 600,
            "timeout_s": 60,
            "project": "p",
            "simulation": "s",
            "model": "m",
            "suite": suite,
            "artefact": folder,
            "artefact_digest": digest,
        }
        spec = SimulationSpec(**fields | changes)
        path = spec.write()
        lease.renew(spec.workdir)
        command = [sys.executable, "-m", "simulations.main", str(path)]
        ended = subprocess.run(
            command, check=False, cwd=CHECKOUT, capture_output=True, timeout=60, process_group=0
        )
        return ended.returncode, SimulationResult.read(spec.workdir)

    return run


@pytest.fixture(scope="module")
def played(simulate, policy_artefact):
    """Code and result of two jobs with the same artefact, suite and seeds."""
    return [simulate(ROLLOUTS, policy_artefact) for _ in range(2)]


def test_corruptions_give_equal_bytes_and_evidence_again(simulate, reader_artefact, held_out):
    given = {"rows": [str(held_out)], "label": "target"}

    (code, one), (_, other) = (simulate(CORRUPTIONS, reader_artefact, **given) for _ in range(2))

    assert code == EXIT_DONE
    assert one.results.read_bytes() == other.results.read_bytes()
    assert one.evidence == other.evidence
    assert one.results_digest == other.results_digest


def test_episodes_give_equal_bytes_and_evidence_again(played):
    (code, one), (_, other) = played

    assert code == EXIT_DONE
    assert one.results != other.results
    assert one.results.read_bytes() == other.results.read_bytes()
    assert one.evidence == other.evidence


def test_results_hold_a_row_per_metric_scenario_seed_and_unit(played):
    _, result = played[0]

    table = pq.read_table(result.results)

    scenarios = {m.scenario for m in result.evidence.measurements} - {MEAN}
    assert table.column_names == ["metric", "scenario", "gated", "seed", "unit", "value"]
    assert table.num_rows == 2 * len(scenarios) * 8
    assert set(table.column("scenario").to_pylist()) == scenarios


def test_episodes_are_drawn_as_curves_and_failure_maps(played):
    _, result = played[0]

    assert [picture.name for picture in result.pictures] == [
        "survival_against_physics.png",
        "failure_map_gravity_sensor_noise.png",
    ]
    assert all(Image.open(picture).width > 300 for picture in result.pictures)


def test_an_environment_beside_the_project_is_played(simulate, policy_artefact, tmp_path):
    (tmp_path / "icy_carts.py").write_text(
        "from gymnasium.envs.classic_control import CartPoleEnv\n"
        "class IcyCart(CartPoleEnv):\n"
        "    def __init__(self, slip=0.5):\n"
        "        super().__init__()\n"
        "        self.force_mag *= 1 - slip / 10\n"
    )
    suite = {
        "kind": "episodes",
        "environment": "icy_carts:IcyCart",
        "vary": {"slip": [0.0, 2.0], "gravity": [1.5]},
        "pairs": [["slip", "gravity"]],
        "success": "survived",
        "episodes": 4,
        "horizon": 60,
    }

    code, result = simulate(suite, policy_artefact, python_path=[str(tmp_path)])

    assert code == EXIT_DONE, result.failure
    assert result.evidence.of("success", "slip 2").estimate == 1
    assert result.steps == 6 * 4 * 60
    assert [picture.name for picture in result.pictures] == [
        "success_against_physics.png",
        "failure_map_slip_gravity.png",
    ]


def test_artefact_of_another_digest_is_refused(simulate, policy_artefact):
    code, result = simulate(ROLLOUTS, policy_artefact, artefact_digest="0" * 64)

    assert code == EXIT_REFUSED
    assert result.failure.kind == "refused"
    assert f"has hash {policy_artefact[1]}, expected {'0' * 64}" in result.failure.message
    assert result.evidence is None


def test_suite_over_rows_is_refused_without_held_out_rows(simulate, reader_artefact):
    code, result = simulate(CORRUPTIONS, reader_artefact)

    assert code == EXIT_REFUSED
    assert result.failure.message == (
        "the suite of s needs held-out rows with a discrete label; the dataset of m has none: "
        "declare label and split"
    )


def test_attack_on_an_artefact_without_a_program_is_refused(simulate, reader_artefact, held_out):
    code, result = simulate(ATTACK, reader_artefact, rows=[str(held_out)], label="target")

    assert code == EXIT_REFUSED
    assert "a gradient attack needs model.pt2" in result.failure.message


def test_image_shape_that_does_not_fit_the_rows_is_refused_with_both(
    simulate, reader_artefact, held_out
):
    suite = CORRUPTIONS | {"image": {"height": 9, "width": 8, "low": 0, "high": 16}}

    code, result = simulate(suite, reader_artefact, rows=[str(held_out)], label="target")

    assert code == EXIT_REFUSED
    assert "64" in result.failure.message
    assert "72" in result.failure.message or "9x8" in result.failure.message


def test_held_out_rows_may_lie_in_a_bucket(simulate, reader_artefact, held_out, monkeypatch):
    root = buckets.make_bucket(monkeypatch)
    buckets.put("rows/test.parquet", held_out.read_bytes())

    code, result = simulate(
        CORRUPTIONS, reader_artefact, rows=[f"{root}/rows/test.parquet"], label="target"
    )

    assert code == EXIT_DONE, result.failure.message
    assert result.evidence.of("accuracy", "clean").n == 400
