"""Deployments, stops and failures during a rollout, with the real router and replicas."""

import os
import signal

import psutil
import pytest

from tests.waiting import until

FOR_EVER_S = 3_600.0


@pytest.fixture
def versions(deployments):
    """A version that serves, and one that stays in its only canary step."""
    return deployments[0], deployments[1].model_copy(update={"canary": [100], "step_s": FOR_EVER_S})


@pytest.fixture
def canary(serving, versions):
    """Brings the second version into a canary step with a percent of the traffic."""

    def enter(percent):
        first, second = versions
        serving.ask(first)
        serving.serving(first)
        steps = [percent] if percent == 100 else [percent, 100]
        serving.ask(second.model_copy(update={"canary": steps}))
        until(lambda: serving.answering().get(2) == percent)

    return enter


def versions_of(serving, requests=30):
    answers = [serving.predict() for _ in range(requests)]
    assert {answer.status_code for answer in answers} == {200}
    return {answer.json()["model_version"] for answer in answers}


def test_going_back_in_the_last_canary_step_costs_no_request(serving, versions, canary, load):
    canary(100)
    until(lambda: versions_of(serving) == {2})
    with load() as requests:
        until(lambda: requests.answers)
        serving.ask(versions[0])
        until(lambda: serving.answering() == {1: 100})
        assert versions_of(serving) == {1}
    assert set(requests.answers) == {200}
    assert serving.status().state == "serving"
    until(lambda: [r.version for r in serving.status().replicas] == [versions[0].version])


def test_a_broken_version_in_the_last_canary_step_of_another_leaves_the_first_one(
    serving, versions, canary, load, tmp_path
):
    canary(100)
    broken = versions[1].model_copy(update={"version": "v3-broken", "bento": tmp_path / "nothing"})
    with load() as requests:
        serving.ask(broken)
        status = until(lambda: (s := serving.status()) and s.state == "rolled_back" and s)
    assert set(requests.answers) == {200}
    until(lambda: versions_of(serving) == {1})
    assert status.message.endswith(f"version {versions[0].version} has all traffic")
    until(lambda: serving.answering() == {1: 100})


def test_a_stopped_deployment_returns_all_traffic_and_says_so(serving, versions, canary, load):
    canary(10)
    with load() as requests:
        serving.stop_deployment(versions[1])
        until(lambda: serving.status().state == "rolled_back")
    assert set(requests.answers) == {200}
    status = serving.status()
    assert status.message == (
        f"the deployment was stopped; version {versions[0].version} has all traffic"
    )
    until(lambda: serving.answering() == {1: 100})
    until(lambda: versions_of(serving) == {1})


def test_a_first_deployment_that_is_stopped_leaves_nothing(serving, versions, tmp_path):
    waiting = versions[0].model_copy(update={"bento": tmp_path / "nothing"})
    serving.ask(waiting)
    until(serving.status)
    serving.stop_deployment(waiting)
    until(lambda: serving.status().state == "rolled_back" and not serving.status().replicas)
    assert serving.status().message == "the deployment was stopped; nothing serves"
    assert serving.predict().status_code in (404, 503)


def test_a_stopped_deployment_stays_stopped_after_a_restart(serving, versions, canary):
    canary(10)
    serving.stop_deployment(versions[1])
    until(lambda: serving.status().state == "rolled_back")
    serving.stop()
    serving.start()
    until(lambda: serving.answering() == {1: 100})
    assert serving.status().state == "rolled_back"
    until(lambda: versions_of(serving) == {1})


def test_after_a_kill_in_the_middle_of_a_canary_the_earlier_version_is_what_traffic_returns_to(
    serving, versions, canary
):
    canary(10)
    pids = [child.pid for child in psutil.Process(serving.process.pid).children(recursive=True)]
    serving.process.kill()
    serving.process.wait()
    until(lambda: not any(psutil.pid_exists(pid) for pid in pids))
    serving.start()
    until(lambda: serving.answering() == {1: 90, 2: 10})
    serving.stop_deployment(versions[1])
    until(lambda: serving.answering() == {1: 100})
    until(lambda: versions_of(serving) == {1})


def test_a_service_undeployed_in_the_middle_of_a_canary_leaves_nothing(serving, versions, canary):
    canary(10)
    router = [child.pid for child in psutil.Process(serving.process.pid).children()]
    replicas = [replica.pid for replica in serving.status().replicas]
    (serving.folder / versions[0].service / "deployment.json").unlink()
    until(lambda: serving.status() is None)
    assert serving.predict().status_code in (404, 503)
    until(lambda: not any(psutil.pid_exists(pid) for pid in replicas))
    assert set(router) - set(replicas)
    assert not (serving.folder / versions[0].service / "rollout.json").exists()


def test_a_killed_router_is_started_again_with_every_share(serving, versions, canary):
    canary(10)
    (router,) = [
        child
        for child in psutil.Process(serving.process.pid).children()
        if "haproxy" in child.name()
    ]
    os.kill(router.pid, signal.SIGKILL)
    until(lambda: not router.is_running() or router.status() == psutil.STATUS_ZOMBIE)
    until(lambda: answers(serving))
    until(lambda: serving.answering() == {1: 90, 2: 10})
    assert versions_of(serving, 100) == {1, 2}


def answers(serving):
    import httpx

    try:
        return serving.predict().status_code == 200
    except httpx.TransportError:
        return False


def test_a_deployment_that_cannot_be_read_leaves_the_service_as_it_is(serving, versions):
    serving.ask(versions[0])
    serving.serving(versions[0])
    log = serving.folder.parent / "reconciler.log"
    (serving.folder / versions[0].service / "deployment.json").write_text("{")
    until(lambda: "cannot be read; the service stays as it is" in log.read_text())
    until(lambda: versions_of(serving) == {1})


def test_the_status_counts_what_each_version_has_answered(serving, versions):
    serving.ask(versions[0])
    serving.serving(versions[0])
    versions_of(serving, 25)
    until(lambda: serving.status().answering[0].requests == 25)
    (answering,) = serving.status().answering
    assert (answering.version, answering.errors) == (versions[0].version, 0)
    assert answering.artefact_digest == versions[0].artefact_digest
