"""What a code server and those who ask it tell each other."""

import subprocess
import sys
import threading
from types import SimpleNamespace

import dagster as dg
import pytest
from dagster._core.errors import DagsterUserCodeProcessError, DagsterUserCodeUnreachableError
from dagster._core.remote_origin import GrpcServerCodeLocationOrigin
from dagster._core.remote_representation.external_data import JobRefSnap
from dagster._grpc.client import DagsterGrpcClient
from dagster._serdes import serialize_value

from resources.orchestration import snapshots
from resources.settings import CHECKOUT
from tests.waiting import until

CODE = """
import dagster as dg
from resources.orchestration.snapshots import answer_once

answer_once()

@dg.op
def nothing():
    pass

@dg.job(description="does nothing")
def first():
    nothing()

@dg.job
def second():
    nothing()

defs = dg.Definitions(jobs=[first, second])
"""


@pytest.fixture
def origin(tmp_path, monkeypatch):
    """A code server of its own, with two jobs."""
    monkeypatch.setenv("PYTHONPATH", str(CHECKOUT))
    (tmp_path / "two_jobs.py").write_text(CODE)
    socket = tmp_path / "code.sock"
    command = [sys.executable, "-m", "dagster", "api", "grpc", "--socket", str(socket)]
    where = ["--module-name", "two_jobs", "--working-directory", str(tmp_path)]
    server = subprocess.Popen([*command, *where], cwd=tmp_path, start_new_session=True)
    try:
        client = DagsterGrpcClient(socket=str(socket))
        until(lambda: _answers(client), 120)
        yield GrpcServerCodeLocationOrigin(
            host="localhost", socket=str(socket), location_name="two_jobs"
        )
    finally:
        server.terminate()
        server.wait(30)


def _answers(client):
    try:
        return client.ping("here")["echo"] == "here"
    except DagsterUserCodeUnreachableError:
        return False


@pytest.fixture
def location(origin, monkeypatch):
    """The code server's definitions, as the daemon and the webserver see them."""
    asked = []
    real = DagsterGrpcClient.external_job

    def counted(self, origin, name, *rest):
        asked.append(name)
        return real(self, origin, name, *rest)

    monkeypatch.setattr(DagsterGrpcClient, "external_job", counted)
    with dg.DagsterInstance.ephemeral() as instance:
        snapshots.describe_jobs_when_asked()
        found = origin.create_location(instance)
        try:
            yield SimpleNamespace(
                repository=next(iter(found.get_repositories().values())), asked=asked, itself=found
            )
        finally:
            found.cleanup()


def test_a_job_is_described_when_it_is_used_and_once(location):
    assert location.asked == []
    assert location.repository.has_job("first")
    job = location.repository.get_full_job("first")
    assert job.description == "does nothing"
    assert job.computed_job_snapshot_id == job.identifying_job_snapshot_id
    assert location.asked == ["first"]


def test_a_job_that_the_code_server_no_longer_has_is_an_error_that_names_it(location):
    gone = JobRefSnap(
        name="third", snapshot_id="0" * 40, active_presets=[], parent_snapshot_id=None
    )

    with pytest.raises(DagsterUserCodeProcessError, match="third"):
        location.itself._job_ref_to_snap(location.repository.name, gone)


class Server:
    """A code server that has loaded something."""

    def __init__(self):
        self._loaded_repositories = SimpleLoaded()


class SimpleLoaded:
    """What is loaded."""


class Question(SimpleNamespace):
    """A request of gRPC."""

    def SerializeToString(self):
        return serialize_value(self.text)


def test_two_who_ask_at_the_same_moment_get_one_answer_until_something_else_is_loaded():
    made, both = [], threading.Barrier(2)

    def make(server, request):
        made.append(request.text)
        return f"{request.text} {len(made)}"

    answer = snapshots._made_once(make)
    server, answers = Server(), []

    def ask():
        both.wait(30)
        answers.append(answer(server, Question(text="all")))

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)

    assert answers == ["all 1", "all 1"]
    assert answer(server, Question(text="deferred")) == "deferred 2"
    server._loaded_repositories = SimpleLoaded()
    assert answer(server, Question(text="all")) == "all 3"
