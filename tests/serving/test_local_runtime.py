"""Deployments by the runtime adapter of one machine, with a real reconciler."""

import shutil
import subprocess
import sys
import threading

import pytest

from engine import lease
from resources.compute.contract import Driver
from resources.services import local as module
from resources.services.local import DeploymentFailed, LocalRuntime, RuntimeAbsent, Superseded
from resources.settings import CHECKOUT
from tests.waiting import until

LONG_S = 3_600.0
KILLED = """
import sys
from pathlib import Path
from resources.compute.contract import Driver
from resources.services.local import LocalRuntime
from serving.contract import Deployment
deployment = Deployment.model_validate_json(sys.stdin.read())
runtime = LocalRuntime(Path(sys.argv[1]), Path(sys.argv[1]))
runtime.deploy(deployment, lambda status: print(status.weight, flush=True), driver=Driver("run 2"))
"""


class Interrupted(BaseException):
    """As Dagster interrupts a step."""


@pytest.fixture
def runtime(serving):
    until(lambda: lease.holder(serving.folder))
    return LocalRuntime(serving.folder, serving.folder)


@pytest.fixture
def served(runtime, serving, deployments):
    """The second version, which is to be deployed beside the first, which serves."""
    first, second = deployments
    runtime.deploy(first, ignore, driver=Driver("run 1"))
    return second.model_copy(update={"canary": [10, 100], "step_s": LONG_S})


def ignore(_):
    pass


def interrupt_at(weight):
    def look(status):
        if status.weight == weight:
            raise Interrupted

    return look


def shares(runtime, deployment):
    status = runtime.status(deployment.service)
    return {a.model_version: a.percent for a in status.answering} if status else {}


def test_an_interrupted_driver_returns_all_traffic_and_says_so(runtime, serving, served):
    with pytest.raises(Interrupted):
        runtime.deploy(served, interrupt_at(10), driver=Driver("run 2"))

    until(lambda: shares(runtime, served) == {1: 100})
    status = runtime.status(served.service)
    assert status.message == (
        f"the deployment of {served.version} was stopped; version {status.serving} has all traffic"
    )
    assert {serving.predict().json()["model_version"] for _ in range(20)} == {1}


def test_a_deployment_that_was_stopped_is_deployed_again_by_the_same_driver(runtime, served):
    driver = Driver("run 2")
    with pytest.raises(Interrupted):
        runtime.deploy(served, interrupt_at(10), driver=driver)
    until(lambda: runtime.status(served.service).state == "rolled_back")

    quick = served.model_copy(update={"step_s": 0.1})
    assert runtime.deploy(quick, ignore, driver=driver).state == "serving"


@pytest.fixture
def killed(serving):
    """Kills the driver of a deployment once it has a tenth of the traffic."""

    def kill(deployment):
        driver = subprocess.Popen(
            [sys.executable, "-c", KILLED, str(serving.folder)],
            cwd=CHECKOUT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert driver.stdin
        assert driver.stdout
        driver.stdin.write(deployment.model_dump_json())
        driver.stdin.close()
        assert "10\n" in iter(driver.stdout.readline, "")
        driver.kill()
        driver.wait()

    return kill


def test_a_killed_driver_leaves_its_deployment_which_its_retry_follows(runtime, served, killed):
    going = served.model_copy(update={"step_s": 3.0, "asked_at": 2e9})
    killed(going)

    weights: list[int] = []
    again = lambda status: weights.append(status.weight)  # noqa: E731
    status = runtime.deploy(going, again, driver=Driver("run 2"))

    assert (status.state, shares(runtime, going)) == ("serving", {2: 100})
    assert 0 not in weights


def test_the_deployment_of_a_killed_driver_is_stopped_for_it(runtime, served, killed):
    killed(served)
    runtime.stop(served.service, "another run")
    assert shares(runtime, served) == {1: 90, 2: 10}

    runtime.stop(served.service, "run 2")

    until(lambda: shares(runtime, served) == {1: 100})
    assert "was stopped" in runtime.status(served.service).message


def test_of_two_deployments_the_one_that_was_requested_later_wins(runtime, serving, served):
    later = served.model_copy(update={"asked_at": 2e9 + 1})
    caught: list[BaseException] = []

    def deploy_later():
        try:
            runtime.deploy(later, ignore, driver=Driver("run 3"))
        except Superseded as error:
            caught.append(error)

    waiting = threading.Thread(target=deploy_later)
    waiting.start()
    until(lambda: shares(runtime, served) == {1: 90, 2: 10})

    with pytest.raises(Superseded, match="which was deployed later"):
        runtime.deploy(served.model_copy(update={"asked_at": 2e9}), ignore)
    assert shares(runtime, served) == {1: 90, 2: 10}

    runtime.undeploy(served.service)
    waiting.join(60)
    assert [str(error) for error in caught] == [f"{served.service} was undeployed"]
    until(lambda: runtime.status(served.service) is None)
    assert runtime.endpoint(served.service) is None


def test_a_deployment_goes_on_while_the_reconciler_is_started_anew(runtime, serving, served):
    going = served.model_copy(update={"step_s": 1.0})
    done: list[str] = []
    driver = threading.Thread(target=lambda: done.append(runtime.deploy(going, ignore).state))
    driver.start()
    until(lambda: shares(runtime, going) == {1: 90, 2: 10})
    serving.process.kill()
    serving.process.wait()
    assert runtime.endpoint(going.service) is None
    serving.start()
    driver.join(120)
    assert done == ["serving"]


def test_without_a_reconciler_the_deployment_says_what_to_start(deployments, tmp_path):
    with pytest.raises(RuntimeAbsent, match="start `orrery up`"):
        LocalRuntime(tmp_path, tmp_path).deploy(deployments[0], ignore)


def test_a_deployment_that_does_not_serve_in_time_is_stopped(
    runtime, served, tmp_path, monkeypatch
):
    bento = tmp_path / "slow"
    shutil.copytree(served.bento, bento)
    (bento / "src" / "serve.py").write_text("import time\ntime.sleep(600)\n")
    slow = served.model_copy(update={"bento": bento, "step_s": 0.0})
    monkeypatch.setattr(module, "READY_WITHIN_S", 2.0)

    with pytest.raises(
        DeploymentFailed, match="did not serve within 2 s, so its deployment was st"
    ):
        runtime.deploy(slow, ignore)

    status = until(lambda: (s := runtime.status(slow.service)).state == "rolled_back" and s)
    assert "did not serve within 2 s; version v1-" in status.message
    assert shares(runtime, slow) == {1: 100}
