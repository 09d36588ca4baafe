"""Suites over tables, and functions of one's own, prove models that no gradient reaches."""

import textwrap

import numpy as np
import onnx
import pyarrow.parquet as pq
import pytest
from onnx import TensorProto, helper, numpy_helper

from engine.artefact import ONNX, SIGNATURE, Column, Signature, TensorSignature, seal
from engine.protocol import Refused
from projects.suite_kinds import read_suite
from simulations.contract import SimulationSpec
from simulations.evidence import MEAN
from simulations.held_out import HeldOut
from simulations.kind import SuiteRun
from simulations.main import simulate
from simulations.subject import Subject
from tests.training.tables import wine

COLUMNS = [
    Column(name="sugar (g/l)", kind="number", nullable=True),
    Column(name="year", kind="integer", low=1990, high=2019),
    Column(name="region", kind="category", nullable=True, categories=["east", "north", "south"]),
]
CLASSES = ["barbera", "barolo", "grignolino"]


def cellar_artefact(folder):
    """Scores by region and by sugar: a small rule, with text and a missing number, in ONNX."""
    one_hot = helper.make_node(
        "LabelEncoder",
        ["region"],
        ["region_code"],
        domain="ai.onnx.ml",
        keys_strings=["east", "north", "south"],
        values_floats=[0.0, 1.0, 2.0],
        default_float=-1.0,
    )
    nodes = [
        one_hot,
        helper.make_node("IsNaN", ["numbers"], ["unknown"]),
        helper.make_node("Where", ["unknown", "zero", "numbers"], ["known"]),
        helper.make_node("Sub", ["region_code", "codes"], ["apart"]),
        helper.make_node("Abs", ["apart"], ["far"]),
        helper.make_node("Neg", ["far"], ["near"]),
        helper.make_node("MatMul", ["known", "weights"], ["sweet"]),
        helper.make_node("Add", ["near", "sweet"], ["scores"]),
    ]
    weights = np.array([[0.5, -0.5, 0.0], [0, 0, 0]], np.float32)
    graph = helper.make_graph(
        nodes,
        "cellar",
        [
            helper.make_tensor_value_info("numbers", TensorProto.FLOAT, ["batch", 2]),
            helper.make_tensor_value_info("region", TensorProto.STRING, ["batch", 1]),
        ],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["batch", 3])],
        [
            numpy_helper.from_array(np.float32(0), "zero"),
            numpy_helper.from_array(np.array([[0.0, 1.0, 2.0]], np.float32), "codes"),
            numpy_helper.from_array(weights, "weights"),
        ],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    folder.mkdir(parents=True)
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), folder / ONNX)
    names = [column.name for column in COLUMNS]
    signature = Signature(
        inputs=[
            TensorSignature(name="numbers", dtype="float32", shape=[2], columns=names[:2]),
            TensorSignature(name="region", dtype="string", shape=[1], columns=names[2:]),
        ],
        outputs=[TensorSignature(name="scores", dtype="float32", shape=[3])],
        task="classification",
        classes=CLASSES,
        columns=COLUMNS,
    )
    (folder / SIGNATURE).write_text(signature.model_dump_json())
    return folder, seal(folder)


@pytest.fixture(scope="module")
def artefact(tmp_path_factory):
    return cellar_artefact(tmp_path_factory.mktemp("cellar") / "artefact")


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    file = tmp_path_factory.mktemp("rows") / "test.parquet"
    pq.write_table(wine(600), file)
    return file


@pytest.fixture
def spec_of(artefact, rows, tmp_path):
    """Spec of a simulation of the cellar's model."""

    def make(suite, **changes):
        resolved = read_suite(suite).resolved(tmp_path / "project.yaml")
        spec = SimulationSpec(
            job="tables",
            workdir=tmp_path / "work",
            timeout_s=60,
            project="cellar",
            simulation="tries",
            model="grapes",
            suite=resolved.model_dump(mode="json"),
            artefact=artefact[0],
            artefact_digest=artefact[1],
            rows=[str(rows)],
            label="grape",
            python_path=[str(tmp_path)],
        ).model_copy(update=changes)
        spec.workdir.mkdir(exist_ok=True)
        return spec

    return make


@pytest.fixture
def run_of(artefact, rows, tmp_path):
    """The model and its held-out rows, as a suite is given them."""
    subject = Subject(*artefact)
    held_out = HeldOut(subject, [str(rows)], "grape", "tries", "grapes")
    return SuiteRun(subject, held_out, tmp_path, (str(tmp_path),))


def written(tmp_path, name, body):
    (tmp_path / f"{name}.py").write_text(textwrap.dedent(body))


def test_a_table_is_changed_by_degrees_and_by_slices(spec_of):
    result = simulate(spec_of({"kind": "tabular", "slices": ["region", "year"], "seeds": [0, 1]}))

    scenarios = {m.scenario for m in result.evidence.measurements}
    assert {"clean", "noise 0.25", "shift 0.5", "missing 0.1", "outliers 0.01"} < scenarios
    assert {"swaps 0.1", "drift 0.5", "region = north", MEAN} < scenarios
    assert any(scenario.startswith("year in 1990 to") for scenario in scenarios)
    assert {m.metric for m in result.evidence.measurements} == {
        "accuracy",
        "balanced_accuracy",
        "macro_f1",
        "log_loss",
    }
    assert "accuracy_by_slice.png" in {picture.name for picture in result.pictures}
    clean = result.evidence.of("accuracy", "clean")
    assert clean.low < clean.estimate < clean.high
    assert result.evidence.of("accuracy", "swaps 0.1").estimate < clean.estimate


def test_equal_seeds_give_equal_evidence(spec_of, tmp_path):
    suite = {"kind": "tabular", "measure": ["auroc", "accuracy"]}
    one = simulate(spec_of(suite))
    other = simulate(spec_of(suite, workdir=tmp_path / "other"))

    assert one.results_digest == other.results_digest
    assert one.evidence == other.evidence


def test_numbers_stay_within_their_declared_range_and_whole(run_of):
    seen = []
    answer = run_of.subject.scores
    run_of.subject.scores = lambda columns, *_: seen.append(columns) or answer(columns)

    read_suite({"kind": "tabular", "noise": [5.0]}).outcomes(run_of)

    years = np.concatenate([columns["year"] for columns in seen])
    assert (years.min(), years.max()) == (1990, 2019)
    assert (years == np.rint(years)).all()


def test_levels_above_the_gate_are_measured_but_not_gated(run_of):
    suite = read_suite({"kind": "tabular", "gated_up_to": {"noise": 0.1}})

    (accuracy, *_) = suite.outcomes(run_of)

    gated = {s.name for s in accuracy.scenarios if s.gated}
    assert "noise 0.1" in gated
    assert "noise 0.25" not in gated
    assert "shift 0.25" in gated


@pytest.mark.parametrize(
    "suite",
    [
        {"kind": "held_out", "measure": ["accuracy", "auroc", "calibration_error"]},
        {"kind": "tabular", "rows": 50, "seeds": [0, 1]},
        {"kind": "black_box", "rows": 20, "queries": 3},
    ],
    ids=str,
)
def test_held_out_rows_in_batches_give_what_they_give_at_once(suite, run_of, monkeypatch):
    whole = read_suite(suite).outcomes(run_of)
    monkeypatch.setattr("engine.rows.VALUES_AT_ONCE", 40)

    in_batches = read_suite(suite).outcomes(run_of)

    sizes = [len(labels) for _, labels in run_of.held_out.batches()]
    assert len(sizes) > 3 and max(sizes) == 10
    for one, other in zip(whole, in_batches, strict=True):
        assert np.array_equal(one.values, other.values, equal_nan=True)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"slices": ["regoin"]}, "did you mean 'region'"),
        ({"columns": ["sugar*", "yaer"]}, "did you mean 'year'"),
        ({"measure": ["rmse"]}, "the model is for classification"),
    ],
)
def test_a_column_or_metric_that_is_not_there_is_named(changes, says, run_of):
    with pytest.raises(Refused, match=says):
        read_suite({"kind": "tabular", **changes}).outcomes(run_of)


def test_random_search_moves_numbers_within_their_box_and_range(run_of):
    seen = []
    answer = run_of.subject.scores
    run_of.subject.scores = lambda columns, *_: seen.append(columns) or answer(columns)
    suite = read_suite({"kind": "black_box", "epsilons": [0.5, 2.0], "queries": 30, "rows": 120})

    (robust,) = suite.outcomes(run_of)

    accuracy = robust.values.mean(axis=(1, 2))
    assert accuracy[0] > accuracy[1] > accuracy[2]
    years = np.concatenate([columns["year"] for columns in seen])
    assert (years.min(), years.max()) == (1990, 2019)
    assert [s.name for s in robust.scenarios if s.gated] == ["epsilon 0"]


def test_random_search_without_a_number_to_move_is_refused(run_of):
    with pytest.raises(Refused, match="none of the columns varies and is a number"):
        read_suite({"kind": "black_box", "columns": ["region"]}).outcomes(run_of)


def test_held_out_rows_are_measured_as_they_are(spec_of):
    result = simulate(spec_of({"kind": "held_out", "measure": ["auroc", "calibration_error"]}))

    area = result.evidence.of("auroc", "held out")
    assert 0.7 < area.low < area.estimate < area.high < 1
    assert "percentile bootstrap" in area.method


def test_a_function_of_ones_own_is_measured_and_drawn(spec_of, tmp_path):
    written(
        tmp_path,
        "vintages",
        """
        def by_decade(predict, rows, label, parameters):
            found = predict(rows)
            truth = rows.column(label).to_pylist()
            years = rows.column("year").to_pylist()
            return {
                f"from {start}": {
                    "right": [
                        float(f == t)
                        for f, t, y in zip(found, truth, years)
                        if start <= y < start + 10
                    ]
                }
                for start in parameters["starts"]
            }
        """,
    )
    suite = {
        "kind": "function",
        "run": "vintages:by_decade",
        "measures": {"right": "share"},
        "parameters": {"starts": [1990, 2000, 2010]},
        "not_gated": ["from 2010"],
    }

    result = simulate(spec_of(suite))

    found = {m.scenario: m for m in result.evidence.measurements}
    assert set(found) == {"from 1990", "from 2000", "from 2010", MEAN}
    assert found["from 1990"].gated
    assert not found["from 2010"].gated
    assert found["from 1990"].low < found["from 1990"].estimate
    assert [picture.name for picture in result.pictures] == ["right.png"]


def test_other_code_gives_another_suite(spec_of, tmp_path):
    suite = {"kind": "function", "run": "coded:f", "measures": {"x": "mean"}}
    written(tmp_path, "coded", "def f(): return 1")
    before = spec_of(suite).suite
    written(tmp_path, "coded", "def f(): return 2")

    assert spec_of(suite).suite["code_digest"] != before["code_digest"]


@pytest.mark.parametrize(
    ("returns", "says"),
    [
        ("{'a': {'x': [1, float('nan')]}}", "NaN or infinity"),
        ("{'a': {'x': [1]}}", "1 samples of 'x', expected at least 2"),
        ("{'a': {'x': []}}", "0 samples of 'x', expected at least 2: fewer have no interval"),
        ("{'a': {'x': [[[1, 2]]]}}", "expected \\[units\\] or"),
        (
            "{'a': {'x': [[1, 0], [0, 1]]}}",
            "of shape \\[2, 2\\], expected \\[units\\] or \\[1 seeds, u",
        ),
        ("{'a': {'x': [[1, 0], [1]]}}", "no numbers: .*inhomogeneous shape"),
        ("{'a': {'x': ['n', 'm']}}", "no numbers"),
        ("{'a': {'y': [1, 0]}}", "expected samples of the metric 'x'"),
        ("{'a': {'x': [1, 2]}}", "declare it as a mean"),
        ("{}", "expected scenarios with their samples"),
        ("1 / 0", "raised ZeroDivisionError"),
        ("predict([{'region': 'north'}])", "lacks the column 'year'"),
        ("predict([{'year': 2000, 'region': 'nroth'}])", "did you mean 'north'"),
    ],
)
def test_what_a_function_returns_wrongly_is_named(returns, says, run_of, tmp_path):
    name = f"wrong_{abs(hash(returns))}"
    written(tmp_path, name, f"def f(predict): return {returns}")
    suite = read_suite({"kind": "function", "run": f"{name}:f", "measures": {"x": "share"}})

    with pytest.raises(Refused, match=says):
        suite.outcomes(run_of)


def test_a_function_that_takes_what_nobody_gives_is_named(run_of, tmp_path):
    written(tmp_path, "wants_more", "def f(model): return {}")
    suite = read_suite({"kind": "function", "run": "wants_more:f", "measures": {"x": "share"}})

    with pytest.raises(Refused, match="takes 'model', expected some of predict"):
        suite.outcomes(run_of)
