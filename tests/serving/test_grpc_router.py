"""gRPC through the real router: by the model's name, with the shares and the care of REST."""

import re
import shutil
import threading

import httpx
import numpy as np
import pytest
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton_http
from tritonclient.utils import InferenceServerException

from tests.failing_bento import fail_all_predictions, hold_all_predictions
from tests.serving.conftest import SERVICE
from tests.waiting import until

FOR_EVER_S = 3_600.0


@pytest.fixture
def client(serving):
    return triton_grpc.InferenceServerClient(f"127.0.0.1:{serving.grpc_port}")


def infer(client, rows=1, module=triton_grpc, **more):
    taken = module.InferInput("input", [rows, 4], "FP32")
    taken.set_data_from_numpy(np.ones((rows, 4), np.float32))
    return client.infer(more.pop("model", SERVICE), [taken], **more)


class GrpcLoad(threading.Thread):
    """Requests over one connection without pause until told to stop."""

    def __init__(self, port):
        super().__init__(daemon=True)
        self._client = triton_grpc.InferenceServerClient(f"127.0.0.1:{port}")
        self._over = threading.Event()
        self.failures, self.versions, self.count = [], set(), 0

    def run(self):
        while not self._over.is_set():
            try:
                self.versions.add(infer(self._client).get_response().model_version)
            except InferenceServerException as error:
                self.failures.append(f"{error.status()} {error.message()}")
            self.count += 1

    def __enter__(self):
        self.start()
        until(lambda: self.count)
        return self

    def __exit__(self, *_):
        self._over.set()
        self.join(20)
        assert not self.is_alive()


def refused(ask):
    with pytest.raises(InferenceServerException) as error:
        ask()
    return error.value.status(), error.value.message()


def test_a_service_is_found_by_the_name_of_its_model(serving, deployments, client):
    until(lambda: refused(client.is_server_live)[1].startswith("no service answers now"))
    serving.ask(deployments[0])
    serving.serving(deployments[0])
    assert client.is_server_live() and client.is_server_ready()
    assert client.is_model_ready(SERVICE)
    # More than the router's buffer and more than a window of HTTP/2.
    assert infer(client, 50_000).as_numpy("linear").shape == (50_000, 3)
    plain = triton_http.InferenceServerClient(f"127.0.0.1:{serving.port}")
    assert plain.is_server_live() and plain.is_model_ready(SERVICE)
    answer = infer(plain, 2, triton_http).as_numpy("linear")
    np.testing.assert_allclose(answer, infer(client, 2).as_numpy("linear"))
    prefixed = triton_http.InferenceServerClient(f"127.0.0.1:{serving.port}/{SERVICE}")
    np.testing.assert_allclose(infer(prefixed, 2, triton_http).as_numpy("linear"), answer)


def test_what_the_router_cannot_route_is_refused(serving, deployments, client):
    serving.ask(deployments[0])
    serving.serving(deployments[0])
    status, message = refused(lambda: infer(client, model="flowers.other"))
    assert status == "StatusCode.NOT_FOUND"
    assert "no such service" in message
    status, message = refused(lambda: infer(client, 1000, compression_algorithm="gzip"))
    assert status == "StatusCode.UNIMPLEMENTED"
    assert "without compression" in message
    status, _ = refused(lambda: infer(client, model_version="9"))
    assert status == "StatusCode.NOT_FOUND"
    url = f"http://127.0.0.1:{serving.port}/v2/models/flowers.other/ready"
    assert httpx.get(url).json() == {"error": "no such service"}


def test_a_deadline_ends_a_request_that_its_replica_still_holds(
    serving, deployments, client, tmp_path
):
    bento = tmp_path / "holding"
    shutil.copytree(deployments[0].bento, bento)
    hold_all_predictions(bento)
    holding = deployments[0].model_copy(update={"bento": bento})
    serving.ask(holding)
    serving.serving(holding)
    status, _ = refused(lambda: infer(client, client_timeout=0.5))
    assert status == "StatusCode.DEADLINE_EXCEEDED"
    assert client.is_model_ready(SERVICE)


def test_a_new_version_takes_over_without_a_failed_request(serving, deployments):
    serving.ask(deployments[0])
    serving.serving(deployments[0])
    with GrpcLoad(serving.grpc_port) as requests:
        serving.ask(deployments[1])
        serving.serving(deployments[1])
        until(lambda: len(serving.status().replicas) == 1)
    assert requests.failures == []
    assert requests.versions == {"1", "2"}


def test_a_canary_has_its_share_of_both_protocols_and_all_are_counted(serving, deployments, client):
    serving.ask(deployments[0])
    serving.serving(deployments[0])
    waiting = {"canary": [25, 100], "step_s": FOR_EVER_S}
    serving.ask(deployments[1].model_copy(update=waiting))
    until(lambda: serving.answering() == {1: 75, 2: 25})
    versions = [infer(client).get_response().model_version for _ in range(40)]
    assert versions.count("2") == 10
    answers = [serving.predict().json()["model_version"] for _ in range(20)]
    assert answers.count(2) == 5

    def counts():
        return [(each.requests, each.errors) for each in serving.status().answering]

    until(lambda: counts() == [(45, 0), (15, 0)])


def test_a_canary_that_fails_by_grpc_alone_is_rolled_back(serving, deployments, tmp_path):
    serving.ask(deployments[0])
    serving.serving(deployments[0])
    bento = tmp_path / "failing"
    shutil.copytree(deployments[1].bento, bento)
    fail_all_predictions(bento)
    with GrpcLoad(serving.grpc_port) as requests:
        serving.ask(deployments[1].model_copy(update={"bento": bento, "step_s": FOR_EVER_S}))
        status = until(lambda: (s := serving.status()) and s.state == "rolled_back" and s)
    assert "answered with errors" in status.message
    assert set(requests.failures) == {"StatusCode.INTERNAL the model failed: AttributeError"}


def test_a_bento_that_answers_no_grpc_is_served_by_rest(serving, deployments, client, tmp_path):
    bento = tmp_path / "earlier"
    shutil.copytree(deployments[0].bento, bento)
    answer = bento / "src" / "answer.py"
    text = answer.read_text()
    without = re.sub(r', "grpc_port": grpc_port', "", text).replace('"PREDICT_GRPC_PORT"', '"NONE"')
    assert text.count("PREDICT_GRPC_PORT") - without.count("PREDICT_GRPC_PORT") == 1
    answer.write_text(without)
    earlier = deployments[0].model_copy(update={"bento": bento})
    serving.ask(earlier)
    serving.serving(earlier)
    assert serving.predict().json()["model_version"] == 1
    status, message = refused(lambda: infer(client))
    assert status == "StatusCode.UNAVAILABLE"
    assert "no replica of this service answers gRPC now" in message
    serving.ask(deployments[1])
    serving.serving(deployments[1])
    assert infer(client).get_response().model_version == "2"
