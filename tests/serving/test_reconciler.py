import os
import shutil
import signal
import socket
import subprocess
import sys

import httpx
import psutil
import pytest

from api.processes.plan import free_port
from tests.failing_bento import fail_all_predictions
from tests.waiting import until


def gone(pids: list[int]) -> bool:
    return not any(psutil.pid_exists(pid) for pid in pids)


def descendants(pid: int) -> list[int]:
    return [child.pid for child in psutil.Process(pid).children(recursive=True)]


def test_a_deployment_is_served_behind_the_router(serving, deployments):
    serving.ask(deployments[0])
    serving.serving(deployments[0])
    answer = serving.predict().json()
    assert answer["model_version"] == 1
    assert answer["outputs"][0][0] - 0.4 < 1e-6


def test_a_new_version_takes_over_without_a_failed_request(serving, deployments, load):
    serving.ask(deployments[0])
    serving.serving(deployments[0])
    with load() as requests:
        serving.ask(deployments[1])
        serving.serving(deployments[1])
        until(lambda: serving.predict().json()["model_version"] == 2)
    assert set(requests.answers) == {200}
    assert requests.versions == {1, 2}


def test_a_killed_service_process_is_started_again(serving, deployments):
    serving.ask(deployments[0])
    pid = serving.serving(deployments[0]).replicas[0].pid
    os.kill(pid, signal.SIGKILL)
    until(lambda: (s := serving.status()) and s.replicas and s.replicas[0].pid != pid)
    serving.serving(deployments[0])
    until(lambda: serving.predict().status_code == 200)


def test_one_of_two_replicas_killed_costs_no_request(serving, deployments, load):
    two = deployments[0].model_copy(update={"replicas": 2})
    serving.ask(two)
    victim = serving.serving(two).replicas[0]
    with load() as requests:
        until(lambda: len(requests.answers) > 50)
        for pid in [*descendants(victim.pid), victim.pid]:
            os.kill(pid, signal.SIGKILL)
        until(lambda: (s := serving.status()) and any(r.restarts for r in s.replicas))
        serving.serving(two)
    assert set(requests.answers) == {200}


def test_a_version_that_does_not_start_is_rolled_back(serving, deployments, tmp_path):
    serving.ask(deployments[0])
    serving.serving(deployments[0])
    broken = deployments[1].model_copy(
        update={"bento": tmp_path / "nothing", "version": "v9-broken"}
    )
    serving.ask(broken)
    status = until(lambda: (s := serving.status()) and s.state == "rolled_back" and s)
    assert "does not start" in status.message
    assert serving.predict().json()["model_version"] == 1


def test_a_canary_that_answers_with_errors_is_rolled_back(serving, deployments, load, tmp_path):
    serving.ask(deployments[0])
    serving.serving(deployments[0])
    bento = tmp_path / "failing"
    shutil.copytree(deployments[1].bento, bento)
    fail_all_predictions(bento)
    with load() as requests:
        until(lambda: len(requests.answers) > 50)
        serving.ask(deployments[1].model_copy(update={"bento": bento, "step_s": 5.0}))
        status = until(lambda: (s := serving.status()) and s.state == "rolled_back" and s)
    assert "answered with errors" in status.message
    assert serving.predict().json()["model_version"] == 1


def test_stopping_leaves_nothing_running(serving, deployments):
    serving.ask(deployments[0])
    serving.serving(deployments[0])
    pids = descendants(serving.process.pid)
    assert len(pids) >= 4
    serving.stop()
    assert gone(pids)


def test_a_killed_reconciler_takes_its_processes_along_and_the_next_one_serves(
    serving, deployments
):
    serving.ask(deployments[0])
    serving.serving(deployments[0])
    pids = descendants(serving.process.pid)
    serving.process.kill()
    serving.process.wait()
    until(lambda: gone(pids))
    serving.start()
    until(lambda: (s := serving.status()) and s.replicas and s.replicas[0].pid not in pids)
    serving.serving(deployments[0])
    assert serving.predict().status_code == 200


def test_an_undeployed_service_is_not_routed_any_more(serving, deployments):
    serving.ask(deployments[0])
    serving.serving(deployments[0])
    (serving.folder / deployments[0].service / "deployment.json").unlink()
    until(lambda: serving.status() is None)
    assert serving.predict().status_code in (404, 503)


@pytest.mark.parametrize("setting", ["ORRERY_ROUTER_PORT", "ORRERY_ROUTER_GRPC_PORT"])
def test_a_taken_router_port_is_said_to_be_taken(setting, tmp_path):
    with socket.socket() as squatter:
        squatter.bind(("127.0.0.1", 0))
        squatter.listen()
        port = str(squatter.getsockname()[1])
        free = str(free_port("127.0.0.1"))
        ports = [free, port] if setting == "ORRERY_ROUTER_GRPC_PORT" else [port, free]
        command = [sys.executable, "-m", "serving.reconciler", str(tmp_path), "127.0.0.1", *ports]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 1
    assert f"port {port}" in ended.stderr
    assert f"set {setting}\n" in ended.stderr


def test_an_unknown_service_is_a_json_404(serving):
    until(lambda: _answers(serving))
    answer = httpx.get(f"http://127.0.0.1:{serving.port}/nobody/predict")
    assert answer.status_code == 404
    assert answer.json() == {"error": "no such service"}


def _answers(serving) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", serving.port)) == 0
