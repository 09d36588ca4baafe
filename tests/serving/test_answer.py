import json
import os
import subprocess
import sys

import httpx
import numpy as np
import onnxruntime
import pytest

from api.processes import free_port
from engine.orphan import die_with_parent


@pytest.fixture(scope="module")
def answering(package, tmp_path_factory):
    """The answering process of a Bento alone, with a request log."""
    spec, packaged = package(0.3, 3)
    port, folder = free_port("127.0.0.1"), tmp_path_factory.mktemp("requests")
    keeper = subprocess.Popen(
        [sys.executable, str(packaged.bento / "src" / "keeper.py"), str(port)],
        env={**os.environ, "REQUEST_LOG_FOLDER": str(folder), "REQUEST_LOG_MEGABYTES": "1"},
        preexec_fn=die_with_parent,
    )
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=10) as client:
        while True:
            try:
                client.get("/readyz")
                break
            except httpx.HTTPError:
                assert keeper.poll() is None
        client.spec, client.folder = spec, folder
        yield client
    keeper.terminate()
    keeper.wait(20)


def test_predictions_equal_those_of_the_artefact(answering):
    rows = np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32)
    session = onnxruntime.InferenceSession(answering.spec.artefact / "model.onnx")
    expected = session.run(None, {session.get_inputs()[0].name: rows})[0]
    answer = answering.post("/predict", json={"inputs": rows.tolist()}).json()
    np.testing.assert_allclose(answer["outputs"], expected, atol=1e-6)
    assert answer["predictions"] == expected.argmax(axis=1).tolist()


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"not json", "not JSON"),
        (b"[1, 2]", "expected"),
        (b'{"inputs": []}', "at least one row"),
        (b'{"inputs": [[1, 2]]}', "expected [4]"),
        (b'{"inputs": [[1, 2, 3, "x"]]}', "not numbers"),
        (b'{"inputs": [[1, 2, 3, NaN]]}', "NaN"),
        (b'{"inputs": [[1, 2], [3]]}', "not numbers of one shape"),
        (b'{"rows": [{"a": 1}]}', "no named features"),
        (b"[" * 100_000, "not JSON"),
        (b"\xff\xfe\xfa", "not JSON"),
    ],
)
def test_a_bad_body_gets_a_clear_error(answering, body, says):
    answer = answering.post("/predict", content=body)
    assert answer.status_code == 400
    assert says in answer.json()["error"]


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
    row = schema["schema"]["properties"]["inputs"]["items"]
    assert (row["minItems"], row["maxItems"]) == (4, 4)


def test_the_metrics_count_what_was_answered(answering):
    def count() -> float:
        lines = answering.get("/metrics").text.splitlines()
        name = 'predict_requests_total{status="200"} '
        return next(float(line.removeprefix(name)) for line in lines if line.startswith(name))

    before = count()
    answering.post("/predict", json={"inputs": [[0, 0, 0, 0]]})
    assert count() == before + 1


def test_requests_are_logged_with_their_predictions(answering):
    answering.post("/predict", json={"inputs": [[9, 8, 7, 6]]})
    path = answering.folder / "requests.jsonl"
    wanted = [9, 8, 7, 6]
    while True:
        # What follows the last line's end may be half a line.
        lines = path.read_text().split("\n")[:-1] if path.exists() else []
        found = [e for e in map(json.loads, lines) if e["inputs"] == wanted]
        if found:
            break
    assert found[0]["model_version"] == 3
    assert found[0]["prediction"] in (0, 1, 2)


def test_the_request_log_stays_within_its_bound(answering):
    rows = np.random.default_rng(1).normal(size=(2000, 4)).tolist()
    older = answering.folder / "requests.jsonl.1"
    while not older.exists():
        answering.post("/predict", json={"inputs": rows})
    sizes = [file.stat().st_size for file in answering.folder.iterdir()]
    assert sum(sizes) < 3_000_000
