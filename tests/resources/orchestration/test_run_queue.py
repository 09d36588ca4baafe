"""The daemon looks into the queue of dagster_runs when one is queued."""

import stat
import threading
import time
from types import SimpleNamespace

import dagster as dg
import pytest
from dagster._core.remote_origin import GrpcServerCodeLocationOrigin, RemoteRepositoryOrigin
from dagster._core.test_utils import create_run_for_test
from dagster._daemon.run_coordinator.queued_run_coordinator_daemon import QueuedRunCoordinatorDaemon

from resources.orchestration import run_queue
from resources.orchestration.run_coordinator import AttributingCoordinator
from resources.orchestration.run_queue import WakeUps, look_when_woken, wake

LONG_S = 60.0
ORIGIN = RemoteRepositoryOrigin(
    GrpcServerCodeLocationOrigin(host="localhost", port=1, location_name="orrery"), "repository"
)


@pytest.fixture
def wake_ups(tmp_path):
    found = WakeUps(tmp_path / "queue.sock")
    yield found
    found.close()


def test_wake_ups_that_arrive_together_are_one(tmp_path, wake_ups):
    for _ in range(3):
        wake(tmp_path / "queue.sock")

    assert wake_ups.arrive(LONG_S)
    assert not wake_ups.arrive(0)


def test_no_other_user_may_wake_the_daemon(tmp_path, wake_ups):
    assert stat.S_IMODE((tmp_path / "queue.sock").stat().st_mode) == 0o600


def test_waking_a_daemon_that_is_not_there_does_nothing(tmp_path):
    wake(tmp_path / "queue.sock")


def test_a_daemon_takes_over_the_socket_of_one_that_was_killed(tmp_path, wake_ups):
    later = WakeUps(tmp_path / "queue.sock")
    wake(tmp_path / "queue.sock")
    assert later.arrive(LONG_S)
    later.close()


def test_a_wake_up_ends_the_rest_and_none_lets_dagster_report_meanwhile(tmp_path, wake_ups):
    resting = run_queue._rest(wake_ups, LONG_S, threading.Event())
    assert next(resting) is None
    wake(tmp_path / "queue.sock")
    assert list(resting) == []


def test_a_daemon_that_ends_rests_no_more(wake_ups):
    ending = threading.Event()
    ending.set()
    assert list(run_queue._rest(wake_ups, LONG_S, ending)) == []


def test_queueing_a_dagster_run_wakes_the_daemon(tmp_path, wake_ups):
    coordinator = AttributingCoordinator(queue=tmp_path / "queue.sock")
    with dg.instance_for_test() as instance:
        coordinator.register_instance(instance)
        run = create_run_for_test(
            instance,
            status=dg.DagsterRunStatus.NOT_STARTED,
            remote_job_origin=ORIGIN.get_job_origin("train"),
        )
        context = SimpleNamespace(dagster_run=run, get_request_header=lambda name: None)
        coordinator.submit_run(context)

        assert wake_ups.arrive(LONG_S)
        assert instance.get_run_by_id(run.run_id).status is dg.DagsterRunStatus.QUEUED


def test_an_error_of_a_look_is_told_and_the_next_look_is_soon():
    def broken(context):
        raise RuntimeError("the database is away")
        yield

    daemon = SimpleNamespace(run_iteration=broken, _logger=SimpleNamespace(error=print))
    look = run_queue._look(daemon, None)
    told = []
    while True:
        try:
            told.append(next(look))
        except StopIteration as end:
            assert end.value == run_queue.BUSY_S
            break
    assert any("the database is away" in getattr(each, "message", "") for each in told)


def test_looks_follow_wake_ups_and_the_socket_is_closed_at_the_end(tmp_path, monkeypatch):
    looked = threading.Semaphore(0)

    def look(self, context):
        looked.release()
        yield

    monkeypatch.setattr(QueuedRunCoordinatorDaemon, "run_iteration", look)
    monkeypatch.setattr(
        QueuedRunCoordinatorDaemon, "core_loop", QueuedRunCoordinatorDaemon.core_loop
    )
    monkeypatch.setattr(run_queue, "QUIET_S", LONG_S)
    place, ending = tmp_path / "queue.sock", threading.Event()
    look_when_woken(place)
    with dg.instance_for_test() as instance:
        context = SimpleNamespace(instance=instance)
        loop = QueuedRunCoordinatorDaemon(interval_seconds=1).core_loop(context, ending)

        def work():
            for _ in loop:
                if ending.is_set():
                    break
            loop.close()

        worker = threading.Thread(target=work)
        worker.start()
        assert looked.acquire(timeout=LONG_S)
        begun = time.monotonic()
        while not looked.acquire(timeout=0.2):
            wake(place)
            assert time.monotonic() - begun < LONG_S
        ending.set()
        worker.join(LONG_S)
        assert not worker.is_alive()
