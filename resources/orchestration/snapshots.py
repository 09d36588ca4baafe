"""What Dagster's processes tell each other about jobs, told once and only where it is needed.

Every process that asks a code server lets it describe all jobs, one by one, and keeps every
description; the code server makes what it answers anew each time, also when two ask at the same
moment. With 300 projects that was two thirds of the start.

timeout, retry: those of Dagster's own client, as before.
cancel: a question to a code server is short.
duplicate: a description that two threads ask for is made once.
partial write: nothing is kept but whole answers.
"""

import threading
from collections.abc import Mapping
from functools import wraps
from typing import Any
from weakref import WeakKeyDictionary

# Dagster has no setting for any of this (docs/decisions/0006).
from dagster._api import snapshot_repository
from dagster._core.errors import DagsterUserCodeProcessError
from dagster._core.remote_origin import RemoteRepositoryOrigin
from dagster._core.remote_representation import external_data
from dagster._core.remote_representation.code_location import GrpcServerCodeLocation
from dagster._grpc.server import DagsterApiServer
from dagster._serdes import deserialize_value
from dagster_shared.error import SerializableErrorInfo


def describe_jobs_when_asked() -> None:
    """Let this process ask a code server for the description of a job when it uses the job."""
    module: Any = snapshot_repository
    module.sync_get_external_repositories_data_grpc = _repositories
    location: Any = GrpcServerCodeLocation
    location._job_ref_to_snap = _job_of


def answer_once() -> None:
    """Let a code server in this process make the list of what it has once."""
    server: Any = DagsterApiServer
    server._get_serialized_external_repository_data = _made_once(
        server._get_serialized_external_repository_data
    )


def _repositories(
    api_client: Any, code_location: Any, defer_snapshots: bool
) -> Mapping[str, tuple[external_data.RepositorySnap, Mapping[str, Any]]]:
    """What each repository of a code server has; Dagster's own asks for every job besides."""
    found = {}
    for name in code_location.repository_names:
        origin = RemoteRepositoryOrigin(code_location.origin, name)
        answer = deserialize_value(
            api_client.external_repository(origin, defer_snapshots=defer_snapshots),
            (external_data.RepositorySnap, external_data.RepositoryErrorSnap),
        )
        if isinstance(answer, external_data.RepositoryErrorSnap):
            raise DagsterUserCodeProcessError.from_error_info(answer.error)
        found[name] = (answer, {})
    return found


def _job_of(
    self: Any, repository_name: str, job_ref: external_data.JobRefSnap
) -> external_data.JobDataSnap:
    """The description of a job. Raises DagsterUserCodeProcessError where the code server no longer
    has it, which it tells everyone within seconds."""
    origin = RemoteRepositoryOrigin(self.origin, repository_name)
    answer = self.client.external_job(origin, job_ref.name)
    if not answer.serialized_job_data:
        error = deserialize_value(answer.serialized_error, SerializableErrorInfo)
        raise DagsterUserCodeProcessError.from_error_info(error)
    return deserialize_value(answer.serialized_job_data, external_data.JobDataSnap)


def _made_once(make: Any) -> Any:
    """The same function, which makes its answer once for what is loaded and a question."""
    made: WeakKeyDictionary[Any, dict[Any, str]] = WeakKeyDictionary()
    making = threading.Lock()

    @wraps(make)
    def answer(server: Any, request: Any) -> str:
        question = request.SerializeToString()
        with making:
            answers = made.setdefault(server._loaded_repositories, {})
            if question not in answers:
                answers[question] = make(server, request)
            return answers[question]

    return answer
