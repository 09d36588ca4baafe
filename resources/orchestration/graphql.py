"""The adapter to Dagster's webserver, over GraphQL: start and stop dagster_runs, load definitions.

timeout: `TIMEOUT_S` a call; `RELOAD_S` for loading the definitions anew.
retry: none here; the dispatcher asks again, after looking whether the first call did its work.
cancel: a call that is not waited for any more may still do its work.
duplicate: Dagster has no key for it, so a dagster_run is tagged with its job, and `find` looks for
    the tag before a launch is repeated.
partial write: Dagster creates a dagster_run in one transaction, and queues it in another.
"""

from collections.abc import Awaitable, Callable
from typing import Any

import httpx

JOB_TAG = "orrery/job"
USER_TAG = "orrery/user"
USER_HEADER = "X-Orrery-User"
LOCATION = "orrery"
REPOSITORY = "__repository__"
TIMEOUT_S = 60.0
RELOAD_S = 180.0

LAUNCH = """
mutation Launch($params: ExecutionParams!) {
  launchRun(executionParams: $params) {
    __typename
    ... on LaunchRunSuccess { run { runId } }
    ... on PythonError { message }
    ... on PipelineNotFoundError { message }
    ... on InvalidSubsetError { message }
    ... on RunConfigValidationInvalid { errors { message } }
    ... on UnauthorizedError { message }
  }
}
"""
TERMINATE = """
mutation Terminate($id: String!) {
  terminateRun(runId: $id, terminatePolicy: SAFE_TERMINATE) {
    __typename
    ... on TerminateRunFailure { message }
    ... on PythonError { message }
  }
}
"""
REMOVE = """
mutation Remove($id: String!) { deleteRun(runId: $id) { __typename } }
"""
RELOAD = """
mutation Reload($name: String!) {
  reloadRepositoryLocation(repositoryLocationName: $name) {
    __typename
    ... on WorkspaceLocationEntry { locationOrLoadError {
      __typename ... on PythonError { message } } }
    ... on PythonError { message }
    ... on ReloadNotSupported { message }
    ... on RepositoryLocationNotFound { message }
  }
}
"""
FIND = """
query Find($tags: [ExecutionTag!]!) {
  runsOrError(filter: {tags: $tags}, limit: 2) {
    __typename
    ... on Runs { results { runId status } }
    ... on PythonError { message }
  }
}
"""


class DagsterUnavailable(Exception):
    """Dagster does not answer; the same call may work later."""


class LaunchRefused(Exception):
    """Dagster can never start what was asked: no such job, or config that does not fit."""


class NotDefined(LaunchRefused):
    """Dagster knows no such job or asset; it may not have loaded its declaration yet."""


class DagsterGraphql:
    """Asks a Dagster webserver, in this process or another."""

    def __init__(self, client: Callable[[], Awaitable[httpx.AsyncClient]], prefix: str) -> None:
        self._client, self._prefix = client, prefix

    async def launch(
        self,
        job: str,
        assets: list[list[str]],
        config: dict[str, Any],
        tags: dict[str, str],
        user: str,
    ) -> str:
        """Id of the new dagster_run. Raises LaunchRefused or DagsterUnavailable."""
        selector = {
            "repositoryLocationName": LOCATION,
            "repositoryName": REPOSITORY,
            "jobName": job,
            "assetSelection": [{"path": path} for path in assets] or None,
        }
        listed = [{"key": key, "value": value} for key, value in tags.items()]
        params = {
            "selector": selector,
            # A structure: text would be read as YAML, where some JSON values mean something else.
            "runConfigData": config,
            "executionMetadata": {"tags": listed},
        }
        answer = (await self._ask(LAUNCH, {"params": params}, user=user))["launchRun"]
        if answer["__typename"] == "LaunchRunSuccess":
            return answer["run"]["runId"]
        messages = [e["message"] for e in answer.get("errors", [])] or [answer.get("message", "")]
        text = f"Dagster does not start {job}: {'; '.join(messages) or answer['__typename']}"
        if answer["__typename"] == "PythonError":
            raise DagsterUnavailable(text)
        if answer["__typename"] in ("PipelineNotFoundError", "InvalidSubsetError"):
            raise NotDefined(text)
        raise LaunchRefused(text)

    async def find(self, job_id: str) -> str | None:
        """Id of the dagster_run that was started for the job, or None.

        One that was created and never queued, because its dispatcher ended in between,
        would wait for ever: it is removed. Raises DagsterUnavailable.
        """
        tags = [{"key": JOB_TAG, "value": job_id}]
        answer = (await self._ask(FIND, {"tags": tags}))["runsOrError"]
        if answer["__typename"] != "Runs":
            raise DagsterUnavailable(f"Dagster cannot list dagster_runs: {answer.get('message')}")
        for run in reversed(answer["results"]):
            if run["status"] != "NOT_STARTED":
                return run["runId"]
            await self._ask(REMOVE, {"id": run["runId"]})
        return None

    async def terminate(self, run_id: str) -> None:
        """Ask the dagster_run to stop; one that has ended is left alone.

        Raises DagsterUnavailable.
        """
        answer = (await self._ask(TERMINATE, {"id": run_id}))["terminateRun"]
        if answer["__typename"] == "PythonError":
            raise DagsterUnavailable(f"Dagster cannot stop {run_id}: {answer['message']}")

    async def reload(self) -> None:
        """Load the definitions anew. Raises DagsterUnavailable with what is wrong with them."""
        variables = {"name": LOCATION}
        answer = await self._ask(RELOAD, variables, timeout_s=RELOAD_S)
        reloaded = answer["reloadRepositoryLocation"]
        loaded = reloaded.get("locationOrLoadError") or {}
        if message := reloaded.get("message") or loaded.get("message"):
            raise DagsterUnavailable(f"Dagster cannot load the definitions: {message}")

    async def _ask(
        self,
        query: str,
        variables: dict[str, Any],
        timeout_s: float = TIMEOUT_S,
        user: str = "orrery",
    ) -> dict[str, Any]:
        body = {"query": query, "variables": variables}
        try:
            client = await self._client()
            answer = await client.post(
                f"{self._prefix}/graphql",
                json=body,
                timeout=timeout_s,
                headers={USER_HEADER: user},
            )
            answer.raise_for_status()
            document = answer.json()
        except (httpx.HTTPError, ValueError) as error:
            raise DagsterUnavailable(f"Dagster does not answer: {error!r}") from error
        if not document.get("data"):
            errors = "; ".join(e.get("message", "") for e in document.get("errors", []))
            raise DagsterUnavailable(f"Dagster could not answer: {errors}")
        return document["data"]
