"""Triton's clients against the answering process of a Bento."""

import json
import struct
from typing import NamedTuple

import grpc
import httpx
import numpy as np
import pytest
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton_http
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tritonclient.grpc import service_pb2 as messages
from tritonclient.grpc import service_pb2_grpc
from tritonclient.utils import InferenceServerException

from api.processes.plan import free_port
from serving.contract import LARGEST_BODY, MOST_ROWS
from tests.serving.conftest import SERVICE, answering_process, package_artefact
from tests.serving.table_artefact import write_table_artefact
from tests.waiting import until

FEATURES = ("a", "b", "c", "d")
NAN = float("nan")


class Client(NamedTuple):
    """A client of Triton's, whichever way it goes."""

    module: object
    client: object

    def infer(self, tensors, outputs=(), **more):
        inputs = []
        for name, values in tensors.items():
            taken = self.module.InferInput(name, values.shape, word(values))
            taken.set_data_from_numpy(values)
            inputs.append(taken)
        wanted = [self.module.InferRequestedOutput(name) for name in outputs] or None
        return self.client.infer(more.pop("model", SERVICE), inputs, outputs=wanted, **more)


def word(values):
    names = {"f": "FP", "i": "INT", "u": "UINT"}
    if values.dtype == object:
        return "BYTES"
    kind = values.dtype.kind
    return "BOOL" if kind == "b" else f"{names[kind]}{values.dtype.itemsize * 8}"


def texts(*values):
    return np.array([value.encode() for value in values], object)


class Served(NamedTuple):
    """An answering process, and its ways in."""

    http: httpx.Client
    grpc_port: int
    requests: object
    """Folder of its request log."""

    def way(self, name):
        if name == "grpc":
            client = triton_grpc.InferenceServerClient(f"127.0.0.1:{self.grpc_port}")
            return Client(triton_grpc, client)
        return Client(
            triton_http, triton_http.InferenceServerClient(self.http.base_url.netloc.decode())
        )

    def infer(self, body, **headers):
        return self.http.post(f"/v2/models/{SERVICE}/infer", content=body, headers=headers)

    def stub(self):
        channel = grpc.insecure_channel(
            f"127.0.0.1:{self.grpc_port}", [("grpc.max_send_message_length", -1)]
        )
        return service_pb2_grpc.GRPCInferenceServiceStub(channel)


@pytest.fixture(scope="module", params=["http", "grpc"])
def way(request):
    return request.param


def serve(packaged, folder):
    port = free_port("127.0.0.1")
    env_vars = {"PREDICT_GRPC_PORT": str(port), "REQUEST_LOG_FOLDER": str(folder)}
    with answering_process(packaged, **env_vars) as client:
        yield Served(client, port, folder)


@pytest.fixture(scope="module")
def matrix(package, tmp_path_factory):
    yield from serve(package(0.3, 3, FEATURES)[1], tmp_path_factory.mktemp("requests"))


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    base = tmp_path_factory.mktemp("table")
    digest = write_table_artefact(base / "artefact")
    _, packaged = package_artefact(base, base / "artefact", digest, 6)
    yield from serve(packaged, tmp_path_factory.mktemp("requests"))


def test_server_and_model_say_what_they_are(matrix, way):
    client = matrix.way(way).client
    assert client.is_server_live() and client.is_server_ready()
    assert client.is_model_ready(SERVICE) and client.is_model_ready(SERVICE, "3")
    said = {"as_json": True} if way == "grpc" else {}
    assert client.get_server_metadata(**said)["extensions"] == ["binary_tensor_data"]
    metadata = client.get_model_metadata(SERVICE, "3", **said)
    assert metadata["name"] == SERVICE
    assert metadata["versions"] == ["3"]
    (taken,) = metadata["inputs"]
    assert (taken["datatype"], [int(size) for size in taken["shape"]]) == ("FP32", [-1, 4])
    assert [each["name"] for each in metadata["outputs"]] == ["linear", "predictions"]


def test_a_tensor_is_answered_as_predict_answers_its_rows(matrix, way):
    rows = np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32)
    expected = matrix.http.post("/predict", json={"inputs": rows.tolist()}).json()
    result = matrix.way(way).infer({"input": rows}, request_id="mine")
    np.testing.assert_allclose(result.as_numpy("linear"), expected["outputs"], atol=1e-6)
    assert result.as_numpy("predictions").tolist() == expected["predictions"]
    response = result.get_response()
    said = response if way == "http" else json_of(response)
    assert said["id"] == "mine"
    assert said["model_version"] == "3"


def json_of(response):
    return {"id": response.id, "model_version": response.model_version}


def test_columns_by_name_mean_what_the_tensor_means(matrix, way):
    client = matrix.way(way)
    columns = {"d": np.array([4, 8]), "c": np.array([[3], [7]]), "b": np.array([2.0, 6.0])}
    columns["a"] = np.array([1, 5], np.uint8)
    rows = np.arange(1, 9, dtype=np.float32).reshape(2, 4)
    by_tensor = client.infer({"input": rows}).as_numpy("linear")
    assert client.infer(columns).as_numpy("linear").tolist() == by_tensor.tolist()


def test_the_outputs_that_are_named_are_answered_alone(matrix, way):
    rows = np.ones((1, 4), np.float32)
    result = matrix.way(way).infer({"input": rows}, ["predictions"])
    assert result.as_numpy("linear") is None
    assert result.as_numpy("predictions").shape == (1,)


ROWS = np.ones((2, 4), np.float32)


@pytest.mark.parametrize(
    ("tensors", "more", "status", "code", "says"),
    [
        ({"input": ROWS}, {"model": "flowers.other"}, 404, "NOT_FOUND", "expected 'flowers.class"),
        ({"input": ROWS}, {"model_version": "9"}, 404, "NOT_FOUND", "got version '9' of flowers"),
        ({"input": ROWS[:, :3]}, {}, 400, "INVALID_ARGUMENT", "shape [2, 3], expected [rows, 4]"),
        ({"input": ROWS[0]}, {}, 400, "INVALID_ARGUMENT", "shape [4], expected [rows, 4]"),
        ({"input": ROWS[:0]}, {}, 400, "INVALID_ARGUMENT", "got no row, expected at least one"),
        (
            {"input": ROWS.astype(np.float64)},
            {},
            *(400, "INVALID_ARGUMENT", "input 'input': got the datatype FP64, expected FP32"),
        ),
        (
            {"inptu": ROWS},
            {},
            *(400, "INVALID_ARGUMENT", "unknown input 'inptu'; did you mean 'input'?"),
        ),
        (
            {"a": ROWS[:, 0], "b": ROWS[:, 0], "c": ROWS[:, 0]},
            {},
            *(400, "INVALID_ARGUMENT", "the input 'd' is missing; expected the inputs ['input']"),
        ),
        (
            {"input": ROWS, "a": ROWS[:, 0]},
            {},
            *(400, "INVALID_ARGUMENT", "column 'a' is given twice"),
        ),
        (
            {"a": ROWS[:1, 0], "b": ROWS[:, 0], "c": ROWS[:, 0], "d": ROWS[:, 0]},
            {},
            *(400, "INVALID_ARGUMENT", "input 'b': got 2 rows, expected 1 as input 'a' has"),
        ),
        (
            {"input": ROWS},
            {"outputs": ["odds"]},
            *(400, "INVALID_ARGUMENT", "unknown output 'odds', expected some of ['linear', 'pred"),
        ),
        (
            {"input": np.array([[1, 2, 3, 4], [1, NAN, 3, 4]], np.float32)},
            {},
            *(400, "INVALID_ARGUMENT", "row 1, column 1 (b): got NaN, expected a finite number"),
        ),
        (
            {"input": np.full((1, 4), 3e38, np.float32)},
            {},
            *(422, "INVALID_ARGUMENT", "row 0: the model gave inf, expected a finite number"),
        ),
        (
            {"input": np.zeros((MOST_ROWS + 1, 4), np.float32)},
            {},
            *(413, "RESOURCE_EXHAUSTED", f"got {MOST_ROWS + 1} rows, expected at most"),
        ),
    ],
)
def test_what_does_not_fit_is_refused(matrix, way, tensors, more, status, code, says):
    with pytest.raises(InferenceServerException) as refused:
        matrix.way(way).infer(tensors, **more)
    assert says in refused.value.message()
    expected = str(status) if way == "http" else f"StatusCode.{code}"
    assert refused.value.status() == expected


def test_a_message_that_is_too_large_is_refused(matrix):
    request = messages.ModelInferRequest(model_name=SERVICE)
    request.raw_input_contents.append(b" " * (LARGEST_BODY + 1))
    with pytest.raises(grpc.RpcError) as refused:
        matrix.stub().ModelInfer(request)
    assert refused.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert matrix.infer(b" " * (LARGEST_BODY + 1)).status_code == 413


def described(**changes):
    tensor = {"name": "input", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3, 4]}
    return json.dumps({"inputs": [tensor | changes]}).encode()


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"{", "the body is not JSON"),
        (b"[]", "the body: got a list of 0, expected an object"),
        (b"{}", "got no input, expected the inputs ['input']"),
        (b'{"inputs": [3]}', "an input: got 3, expected an object"),
        (described(datatype="FP128"), "got the datatype the text 'FP128', expected one of BOOL"),
        (described(shape=[-1, 4]), "got the shape [-1, 4], expected whole numbers"),
        (described(shape="14"), "got the shape 14, expected whole numbers"),
        (described(data=[1, 2, 3]), "input 'input': got 3 values, expected 4 for shape [1, 4]"),
        (described(data=[1, 2, "3", 4]), "value 2 is the text '3', which is not of the datatype"),
        (described(data=[1, 2, [3], 4]), "which is not of the datatype FP32"),
        (described(datatype="INT8", data=[1, 2, 3, 300]), "INT8 cannot hold all of its values"),
        (described(data=[1, 2, 3, 1e39]), "column 3 (d): got Infinity, expected a finite number"),
        (described(parameters={"binary_data_size": 16}), "expected at most the 0 bytes that foll"),
        (described(data=None), "got null as data, expected a list of values"),
    ],
)
def test_json_that_does_not_fit_is_refused(matrix, body, says):
    answer = matrix.infer(body)
    assert answer.status_code == 400
    assert answer.json().keys() == {"error"}
    assert says in answer.json()["error"]


def test_data_of_json_may_be_flat_or_nested(matrix):
    flat, nested = (
        matrix.infer(described(data=data)).json()["outputs"]
        for data in ([1, 2, 3, 4], [[1, 2, 3, 4]])
    )
    assert flat == nested
    assert [each["name"] for each in flat] == ["linear", "predictions"]


def test_truncated_binary_data_is_refused(matrix):
    tensor = {"name": "input", "shape": [1, 4], "datatype": "FP32"}
    head = json.dumps({"inputs": [tensor | {"parameters": {"binary_data_size": 16}}]}).encode()
    sizes = {"Inference-Header-Content-Length": str(len(head))}
    whole = struct.pack("<4f", 1, 2, 3, 4)
    assert matrix.infer(head + whole, **sizes).status_code == 200
    cut = matrix.infer(head + whole[:-1], **sizes)
    assert cut.status_code == 400
    assert "got 16 as binary_data_size, expected at most the 15 bytes" in cut.json()["error"]
    more = matrix.infer(head + whole + b"1", **sizes)
    assert "got 17 bytes after the JSON, expected 16" in more.json()["error"]
    odd = matrix.infer(head, **{"Inference-Header-Content-Length": "9999"})
    assert "got '9999' as inference-header-content-length" in odd.json()["error"]


def test_typed_contents_are_answered_as_typed_contents(matrix):
    request = messages.ModelInferRequest(model_name=SERVICE)
    tensor = request.inputs.add(name="input", datatype="FP32", shape=[1, 4])
    tensor.contents.fp32_contents.extend([1, 1, 1, 1])
    response = matrix.stub().ModelInfer(request)
    assert not response.raw_output_contents
    assert response.outputs[0].contents.fp32_contents[0] == pytest.approx(1.2)
    assert response.parameters["model_version"].int64_param == 3
    assert response.parameters["dataset_version"].string_param == "d" * 8
    assert response.id


def test_the_standard_health_service_answers(matrix):
    stub = health_pb2_grpc.HealthStub(grpc.insecure_channel(f"127.0.0.1:{matrix.grpc_port}"))
    for name in ("", SERVICE, "inference.GRPCInferenceService"):
        status = stub.Check(health_pb2.HealthCheckRequest(service=name)).status
        assert status == health_pb2.HealthCheckResponse.SERVING


def test_requests_are_logged_and_counted_whatever_their_protocol(matrix, way):
    def count(status):
        name = f'predict_requests_total{{status="{status}"}} '
        lines = matrix.http.get("/metrics").text.splitlines()
        return next(
            (float(line.removeprefix(name)) for line in lines if line.startswith(name)), 0.0
        )

    good, bad = count(200), count(404)
    mark = np.random.default_rng().integers(1, 10_000, (1, 4)).astype(np.float32)
    matrix.way(way).infer({"input": mark}, request_id=f"logged by {way}")
    with pytest.raises(InferenceServerException):
        matrix.way(way).infer({"input": mark}, model="nobody")
    assert (count(200), count(404)) == (good + 1, bad + 1)

    def entry():
        files = matrix.requests.glob("*.jsonl")
        lines = [line for file in files for line in file.read_text().split("\n")[1:-1]]
        return [e for e in map(json.loads, lines) if e["inputs"] == mark[0].tolist()]

    (logged,) = until(entry)
    assert logged["request_id"] == f"logged by {way}"
    assert logged["model_version"] == 3


def test_unknown_paths_and_methods_say_what_there_is(matrix):
    lost = matrix.http.get("/v2/models")
    assert lost.status_code == 404
    assert "/v2/models/NAME" in lost.json()["error"]
    assert matrix.http.get(f"/v2/models/{SERVICE}/infer").status_code == 405
    assert matrix.http.post("/v2").status_code == 405
    coded = matrix.infer(b"x", **{"Content-Encoding": "gzip"})
    assert coded.status_code == 415


def test_the_document_lists_the_paths_of_the_protocol(matrix):
    paths = matrix.http.get("/docs.json").json()["paths"]
    infer = paths[f"/v2/models/{SERVICE}/infer"]["post"]
    assert "input FP32 [-1, 4]" in json.dumps(infer)
    for path, verbs in paths.items():
        if "get" in verbs:
            assert matrix.http.get(path).status_code == 200


def test_a_table_takes_its_columns_by_name_with_missing_values(table, way):
    columns = {
        "age": np.array([30, NAN]),
        "member": np.array([True, False]),
        "joined": texts("1970-01-11", ""),
        "city": texts("rome", ""),
    }
    result = table.way(way).infer(columns)
    assert result.as_numpy("scores").tolist() == [[0, 30 + 100 + 10 + 2000], [0, 0]]
    assert result.as_numpy("predictions").tolist() == [b"yes", b"no"]
    assert result.as_numpy("probabilities").tolist() == [[0, 1], [0.5, 0.5]]
    names = list(columns)
    rows = [[30, True, "1970-01-11", "rome"], [None, False, None, None]]
    body = {"rows": [dict(zip(names, row, strict=True)) for row in rows]}
    expected = table.http.post("/predict", json=body).json()
    assert expected["outputs"] == result.as_numpy("scores").tolist()
    assert expected["probabilities"] == result.as_numpy("probabilities").tolist()


def test_a_table_takes_the_tensors_of_its_model(table, way):
    numbers = np.array([[30, 1, 10], [NAN, 0, NAN]], np.float32)
    result = table.way(way).infer({"numbers": numbers, "city": texts("oslo", "")[:, None]})
    assert result.as_numpy("scores")[:, 1].tolist() == [30 + 100 + 10 + 1000, 0]


def test_a_column_that_may_be_missing_need_not_be_given(table, way):
    result = table.way(way).infer({"member": np.array([1])})
    assert result.as_numpy("scores").tolist() == [[0, 100]]


def test_null_in_json_is_a_missing_value(table):
    def tensor(name, datatype, value):
        return {"name": name, "shape": [1], "datatype": datatype, "data": [value]}

    inputs = [tensor("member", "BOOL", True), tensor("age", "FP64", None)]
    inputs.append(tensor("city", "BYTES", None))
    answer = table.infer(json.dumps({"inputs": inputs})).json()
    scores, predictions, _ = (output["data"] for output in answer["outputs"])
    assert scores == [0, 100]
    assert predictions == ["yes"]


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"city": texts("rom")}, "column 'city': got the text 'rom', expected one of 'oslo', 'rom"),
        ({"city": np.array([1])}, "input 'city': got the datatype INT64, expected BYTES"),
        ({"age": np.array([130.0])}, "column 'age': got 130.0, expected at least 0 and at most 12"),
        ({"age": texts("30")}, "input 'age': got the datatype BYTES, expected a datatype of numb"),
        ({"member": np.array([NAN])}, "column 'member': got NaN, expected true or false"),
        ({"joined": texts("soon")}, "column 'joined': got the text 'soon', expected a date"),
        ({"joined": np.array([1e12])}, "input 'joined', row 0: got 1e+12, expected days since"),
        ({"age": np.array([[1.0, 2.0]])}, "input 'age': got the shape [1, 2], expected [rows] or"),
        ({"numbers": np.zeros((1, 3), np.float32)}, "is given twice, expected it once"),
    ],
)
def test_a_value_that_its_column_does_not_take_is_refused(table, way, changed, says):
    with pytest.raises(InferenceServerException) as refused:
        table.way(way).infer({"member": np.array([True]), **changed})
    assert says in refused.value.message()


def test_bytes_that_end_within_an_element_are_refused(table):
    request = messages.ModelInferRequest(model_name=SERVICE)
    request.inputs.add(name="member", datatype="BOOL", shape=[1])
    request.inputs.add(name="city", datatype="BYTES", shape=[1])
    request.raw_input_contents.extend([b"\x01", struct.pack("<I", 4) + b"os"])
    with pytest.raises(grpc.RpcError, match="the bytes end within element 0"):
        table.stub().ModelInfer(request)
    request.raw_input_contents[1] = struct.pack("<I", 2) + b"\xff\xfe"
    with pytest.raises(grpc.RpcError, match="value 0 is not UTF-8"):
        table.stub().ModelInfer(request)
