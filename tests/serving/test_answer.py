import contextlib
import json

import numpy as np
import onnxruntime
import pytest

from serving.contract import MOST_ROWS
from tests.serving.conftest import answering_process
from tests.waiting import until

FEATURES = ("a", "b", "c", "d")


@pytest.fixture(scope="module")
def answering(package, tmp_path_factory):
    """The answering process of a Bento alone, with a request log."""
    spec, packaged = package(0.3, 3, FEATURES)
    folder = tmp_path_factory.mktemp("requests")
    log = {"REQUEST_LOG_FOLDER": str(folder), "REQUEST_LOG_MEGABYTES": "1"}
    with answering_process(packaged, **log) as client:
        client.spec, client.folder = spec, folder
        yield client


def test_predictions_equal_those_of_the_artefact(answering):
    rows = np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32)
    session = onnxruntime.InferenceSession(answering.spec.artefact / "model.onnx")
    expected = session.run(None, {session.get_inputs()[0].name: rows})[0]
    answer = answering.post("/predict", json={"inputs": rows.tolist()}).json()
    np.testing.assert_allclose(answer["outputs"], expected, atol=1e-6)
    assert answer["predictions"] == expected.argmax(axis=1).tolist()


@pytest.mark.parametrize(
    ("body", "field", "says"),
    [
        (b"not json", None, "the body is not JSON"),
        (b"[" * 100_000, None, "the body is not JSON"),
        (b"\xff\xfe\xfa", None, "the body is not JSON"),
        (b'{"inputs": [[1, 2, 3, %b]]}' % (b"9" * 5000), None, "more than 4300 digits"),
        (b"[1, 2]", None, "got a list of 2, expected an object with `inputs`"),
        (b"{}", None, "got no field, expected exactly one of `inputs`"),
        (b'{"inputs": [[1, 2, 3, 4]], "rows": []}', None, "expected exactly one of `inputs`"),
        (b'{"input": [[1, 2, 3, 4]]}', "input", "got the field 'input', expected `inputs`"),
        (b'{"inputs": 5}', "inputs", "got 5, expected a list of rows"),
        (b'{"inputs": []}', "inputs", "got no row, expected at least one row"),
        (b'{"inputs": [5]}', "inputs.0", "row 0: got 5, expected a list of 4 features"),
        (b'{"inputs": [[1, 2, 3, 4], [1]]}', "inputs.1", "row 1: got 1 values, expected a list of"),
        (b'{"inputs": [[1, 2, 3, "4.0"]]}', "inputs.0.3", "column 3 (d): got the text '4.0'"),
        (b'{"inputs": [[1, 2, 3, true]]}', "inputs.0.3", "column 3 (d): got true, expected a numb"),
        (b'{"inputs": [[1, 2, 3, null]]}', "inputs.0.3", "column 3 (d): got null, expected a numb"),
        (b'{"inputs": [[1, 2, 3, [4]]]}', "inputs.0.3", "got a list of 1, expected a number"),
        (b'{"inputs": [[1, 2, 3, NaN]]}', "inputs.0.3", "got NaN, expected a finite number"),
        (b'{"inputs": [[1, 2, 3, -Infinity]]}', "inputs.0.3", "got -Infinity, expected a finite"),
        (b'{"inputs": [[1, 2, 3, 1e39]]}', "inputs.0.3", "got 1e+39, expected a finite number th"),
        (b'{"inputs": [[1, 2, 3, 1e999]]}', "inputs.0.3", "got Infinity, expected a finite"),
        (b'{"inputs": [[1, 2, 3, 1%b]]}' % (b"0" * 400), "inputs.0.3", "that float32 can hold"),
        (b'{"rows": [[1, 2, 3, 4]]}', "rows.0", "row 0: got a list of 4, expected an object by fe"),
        (b'{"rows": [{"a": 1, "b": 2, "c": 3}]}', "rows.0.d", "row 0 lacks the feature 'd'"),
        (
            b'{"rows": [{"a": 1, "b": 2, "c": 3, "d": 4, "e": 5}]}',
            "rows.0.e",
            "row 0 has the unknown feature 'e', expected ['a', 'b', 'c', 'd']",
        ),
        (
            b'{"rows": [{"a": 1, "b": "2", "c": 3, "d": 4}]}',
            "rows.0.b",
            "row 0, column 1 (b): got the text '2', expected a number",
        ),
    ],
)
def test_a_request_that_does_not_fit_is_refused_with_its_place(answering, body, field, says):
    answer = answering.post("/predict", content=body)
    assert answer.status_code == 400
    assert says in answer.json()["error"]
    assert answer.json().get("field") == field


def answered(answering, request):
    """What is answered, but for the identity that every request has of its own."""
    return answering.post("/predict", json=request).json() | {"request_id": ""}


def test_rows_by_feature_name_mean_what_inputs_in_their_order_mean(answering):
    row = {"d": 4, "c": 3, "b": 2, "a": 1}
    by_name = answered(answering, {"rows": [row]})
    assert by_name == answered(answering, {"inputs": [[1, 2, 3, 4]]})


def test_more_rows_than_a_request_may_have_are_refused(answering):
    answer = answering.post("/predict", json={"inputs": [[0, 0, 0, 0]] * (MOST_ROWS + 1)})
    assert answer.status_code == 413
    assert f"got {MOST_ROWS + 1} rows, expected at most {MOST_ROWS}" in answer.json()["error"]


def test_a_row_for_which_the_model_gives_no_finite_number_is_refused_and_not_logged(answering):
    answer = answering.post("/predict", json={"inputs": [[0, 0, 0, 0], [3e38, 3e38, 3e38, 3e38]]})
    assert answer.status_code == 422
    assert "row 1: the model gave inf, expected a finite number" in answer.json()["error"]
    assert [3e38] * 4 not in [np.round(e["inputs"], -37).tolist() for e in logged(answering)]


def test_the_example_of_the_model_is_answered_and_not_logged(answering):
    example = json.loads((answering.spec.artefact / "input_example.json").read_bytes())

    def times() -> int:
        return sum(entry["inputs"] == example[0] for entry in logged(answering))

    before = times()
    shown = answering.get("/example").json()
    assert times() == before
    assert shown | {"request_id": ""} == answered(answering, {"inputs": example})
    assert times() == before + len(example)


def logged(answering):
    """Entries of the request log, once those of a marked request are among them."""
    mark = [float(value) for value in np.random.default_rng().integers(1, 10_000, 4)]
    answering.post("/predict", json={"inputs": [mark]})

    def entries():
        results = []
        for path in sorted(answering.folder.iterdir()):
            # What follows the last line's end may be half a line.
            header, *lines = map(json.loads, path.read_text().split("\n")[:-1] or ["null"])
            assert header in (None, {"columns": list(FEATURES)})
            results += lines
        return results if mark in [entry["inputs"] for entry in results] else None

    result = until(entries)
    return [entry for entry in result if entry["inputs"] != mark]


def test_a_body_that_is_too_large_is_refused(answering):
    answer = answering.post("/predict", content=b" " * (17 * 1024 * 1024))
    assert answer.status_code == 413


def test_concurrent_requests_are_answered_each_with_its_own_rows(answering):
    from concurrent.futures import ThreadPoolExecutor

    def ask(value: int) -> float:
        inputs = [[value, 0, 0, 0]]
        return answering.post("/predict", json={"inputs": inputs}).json()["outputs"][0][0]

    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(ask, range(200)))
    np.testing.assert_allclose(answers, [0.3 * value for value in range(200)], atol=1e-4)


def test_the_document_types_the_input_by_the_signature(answering):
    document = answering.get("/docs.json").json()
    schema = document["paths"]["/predict"]["post"]["requestBody"]["content"]["application/json"]
    by_order, by_name = schema["schema"]["oneOf"]
    row = by_order["properties"]["inputs"]["items"]
    assert (row["minItems"], row["maxItems"]) == (4, 4)
    assert by_name["properties"]["rows"]["items"]["required"] == list(FEATURES)
    assert by_order["properties"]["inputs"]["maxItems"] == MOST_ROWS


def test_the_metrics_count_what_was_answered(answering):
    def count() -> float:
        lines = answering.get("/metrics").text.splitlines()
        name = 'predict_requests_total{status="200"} '
        return next(float(line.removeprefix(name)) for line in lines if line.startswith(name))

    before = count()
    answering.post("/predict", json={"inputs": [[0, 0, 0, 0]]})
    assert count() == before + 1


def test_requests_are_logged_with_their_predictions_as_the_values_predicted_on(answering):
    answering.post("/predict", json={"rows": [{"a": 9, "b": 8, "c": 7, "d": 0.1}]})
    results = [entry for entry in logged(answering) if entry["inputs"][:3] == [9, 8, 7]]
    assert results[0]["inputs"][3] == float(np.float32(0.1))
    assert results[0]["model_version"] == 3
    assert results[0]["prediction"] in (0, 1, 2)


def test_the_metrics_count_the_rows_that_are_logged(answering):
    logged(answering)
    name = 'predict_log_rows_total{outcome="written"} '

    def written():
        lines = answering.get("/metrics").text.splitlines()
        return sum(float(line.removeprefix(name)) for line in lines if line.startswith(name))

    assert until(written) > 0


def test_the_request_log_stays_within_its_bound(answering):
    rows = np.random.default_rng(1).normal(size=(2000, 4)).tolist()
    first = min(answering.folder.iterdir())
    while first.exists():
        answering.post("/predict", json={"inputs": rows})

    def is_within():
        # Files are deleted while rows are still being written.
        files = [file for file in answering.folder.iterdir() if file.exists()]
        with contextlib.suppress(FileNotFoundError):
            return sum(file.stat().st_size for file in files) <= 1_000_000

    until(is_within)
