"""Which processes serve, and what becomes of them when one of them dies."""

import os
import re
import shutil
import signal
import socket
import stat
from pathlib import Path

import httpx
import psutil
import pytest

from serving.contract import RequestLogPlan, ServiceStatus
from tests.serving.conftest import SERVICE
from tests.waiting import until

FROM_THE_SERVER = "from serve import serve\n\n            serve(self._port)"
FROM_UVICORN = (
    "import uvicorn\n            from answer import load_app\n\n"
    '            uvicorn.run(load_app(), host="127.0.0.1", port=self._port, lifespan="on")'
)


def status_of(serving, service):
    path = serving.folder / service / "status.json"
    return ServiceStatus.model_validate_json(path.read_text()) if path.exists() else None


def replicas_of(serving, service):
    """The replicas of the service, once all of them are ready."""

    def ready():
        status = status_of(serving, service)
        is_serving = status and status.state == "serving"
        return status.replicas if is_serving and status.replicas[0].state == "ready" else None

    return until(ready)


def answering(serving):
    """Processes below the reconciler, but for the router's."""
    below = psutil.Process(serving.process.pid).children(recursive=True)
    return [each for each in below if each.name() != "haproxy"]


def warm_server(serving):
    (found,) = (each for each in answering(serving) if each.ppid() == serving.process.pid)
    return found


def listens(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def gone(pid):
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


@pytest.fixture
def two(serving, deployments, tmp_path):
    """Two services; the code of the second one's Bento calls itself by another name."""
    first, other = deployments
    bento = tmp_path / "another"
    shutil.copytree(other.bento, bento)
    named = bento / "src" / "open_inference" / "models.py"
    named.write_text(named.read_text().replace('SERVER = "orrery"', 'SERVER = "another"'))
    log = RequestLogPlan(folder=tmp_path / "log", sample=1.0, megabytes=1)
    second = other.model_copy(
        update={"service": "flowers.another-api", "bento": bento, "request_log": log}
    )
    for deployment in (first, second):
        serving.ask(deployment)
    return first.service, second.service


def test_services_take_one_process_each_and_one_for_the_machine(serving, two):
    replicas = [replica.pid for service in two for replica in replicas_of(serving, service)]
    assert {each.pid for each in answering(serving)} == {*replicas, warm_server(serving).pid}
    assert len(set(replicas)) == 2


def test_the_warm_server_has_no_thread_that_a_fork_would_lose(serving, deployments):
    serving.ask(deployments[0])
    serving.serving(deployments[0])
    assert warm_server(serving).num_threads() == 1


def test_each_service_has_the_code_of_its_own_bento(serving, two):
    ports = [replicas_of(serving, service)[0].port for service in two]
    names = [httpx.get(f"http://127.0.0.1:{port}/v2").json()["name"] for port in ports]
    assert names == ["orrery", "another"]


def test_each_service_has_its_own_environment_variables(serving, two, tmp_path):
    for service in two:
        port = replicas_of(serving, service)[0].port
        url = f"http://127.0.0.1:{port}/predict"
        httpx.post(url, json={"inputs": [[1, 2, 3, 4]]}).raise_for_status()
    (slot,) = until(lambda: list((tmp_path / "log").glob("*.jsonl")))
    logged = until(lambda: slot.read_text().splitlines()[1:])
    assert ['"model_version": 2' in line for line in logged] == [True]


def test_the_death_of_the_warm_server_costs_no_request_and_no_replica(serving, deployments, load):
    serving.ask(deployments[0])
    pid, warm = serving.serving(deployments[0]).replicas[0].pid, warm_server(serving)
    with load() as requests:
        warm.kill()
        until(lambda: any(each.pid != warm.pid for each in answering(serving)))
        seen = len(requests.answers)
        until(lambda: len(requests.answers) > seen + 20)
    assert set(requests.answers) == {200}
    assert [(r.pid, r.restarts) for r in serving.status().replicas] == [(pid, 0)]
    # It is no child of anybody's any more, and its death is noticed nevertheless.
    os.kill(pid, signal.SIGKILL)
    until(lambda: (r := serving.status().replicas) and r[0].pid != pid and r[0].state == "ready")
    assert serving.predict().status_code == 200


def test_nothing_is_left_of_a_killed_reconciler_whose_warm_server_died_before(serving, deployments):
    serving.ask(deployments[0])
    pid = serving.serving(deployments[0]).replicas[0].pid
    warm = warm_server(serving)
    warm.kill()
    until(lambda: (found := answering(serving)) and found[0].pid != warm.pid)
    pids = [pid, *(each.pid for each in answering(serving))]
    serving.process.kill()
    serving.process.wait()
    until(lambda: all(map(gone, pids)))


def test_a_replica_is_started_cold_where_the_warm_server_hangs(serving, deployments):
    serving.ask(deployments[0])
    pid, warm = serving.serving(deployments[0]).replicas[0].pid, warm_server(serving)
    warm.suspend()
    os.kill(pid, signal.SIGKILL)
    until(lambda: (r := serving.status().replicas) and r[0].pid != pid and r[0].state == "ready")
    until(lambda: serving.predict().status_code == 200)
    assert "serve.py" in psutil.Process(serving.status().replicas[0].pid).cmdline()[1]
    until(lambda: gone(warm.pid))
    until(lambda: len(answering(serving)) == 2)


def test_a_replica_that_is_stopped_answers_its_requests_in_progress(serving, deployments):
    serving.ask(deployments[0])
    replica = serving.serving(deployments[0]).replicas[0]
    body = b'{"inputs": [[1, 1, 1, 1]]}'

    def halves():
        yield body[:10]
        os.kill(replica.pid, signal.SIGTERM)
        until(lambda: not listens(replica.port))
        yield body[10:]

    answer = httpx.post(f"http://127.0.0.1:{replica.port}/predict", content=halves())
    assert (answer.status_code, answer.headers["connection"]) == (200, "close")
    until(lambda: gone(replica.pid))


def through_ports(serving):
    """How many slots of the service the router reaches through ports, of REST."""
    backends = (serving.folder / ".router" / "haproxy.cfg").read_text().split("backend ")
    (rest,) = [b for b in backends if b.startswith(f"{SERVICE}\n")]
    return rest.count(" 127.0.0.1:")


def test_the_router_reaches_replicas_through_sockets_that_no_other_user_sees(serving, deployments):
    serving.ask(deployments[0])
    serving.serving(deployments[0])
    assert serving.predict().json()["model_version"] == 1
    assert through_ports(serving) == 0
    text = (serving.folder / ".router" / "haproxy.cfg").read_text()
    (folder, *_) = {Path(place).parent for place in re.findall(r"unix@(\S+)", text)}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert [place for place in folder.iterdir() if place.is_socket() and place.suffix == ".0"]


def test_a_bento_that_was_packaged_before_its_process_had_a_program_is_served(
    serving, deployments, tmp_path
):
    bento = tmp_path / "earlier"
    shutil.copytree(deployments[0].bento, bento)
    keeper = bento / "src" / "keeper.py"
    text = keeper.read_text()
    assert FROM_THE_SERVER in text
    keeper.write_text(text.replace(FROM_THE_SERVER, FROM_UVICORN))
    (bento / "src" / "serve.py").unlink()
    earlier = deployments[0].model_copy(update={"bento": bento})
    serving.ask(earlier)
    serving.serving(earlier)
    assert serving.predict().json()["model_version"] == 1
    assert through_ports(serving) == 1
    serving.ask(deployments[1])
    serving.serving(deployments[1])
    assert serving.predict().json()["model_version"] == 2
    serving.ask(earlier)
    serving.serving(earlier)
    assert serving.predict().json()["model_version"] == 1
    warm_server = min(answering(serving), key=lambda each: each.create_time())
    warm_server.kill()
    until(lambda: gone(warm_server.pid))
    assert serving.predict().status_code == 200
