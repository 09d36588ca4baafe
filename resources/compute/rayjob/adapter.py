"""The compute adapter of a cluster: an engine job is a RayJob that meets its driver in the bucket.

timeout: none while the job waits for a queue, a node, an image or the Kubernetes API;
    `timeout_s` once it runs, and `stall_s` without a line of progress.
retry: a lost job (node gone, pod deleted or evicted, engine killed, exit code 75) is asked for
    again up to `ATTEMPTS` times, and goes on from its newest checkpoint; being pre-empted by
    Kueue is no attempt.
cancel: a cancelled dagster_run deletes the RayJob. A driver that is only lost leaves it, for its
    retry to adopt; without one the engine ends when the lease has not changed for `lease_s`.
duplicate: the RayJob's name is the job's identity; a second driver adopts what runs.
partial write: results count when `result.json`, written last, is in the bucket.
"""

import json
import logging
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from engine.bucket import Bucket
from engine.checkpoints import CHECKPOINTS
from engine.growing_file import download
from engine.output import Output
from engine.progress import Progress
from engine.protocol import JobResult, JobSpec
from engine.remote import WORKDIR, relocated
from projects.nearest import hint
from resources.compute.contract import (
    ANY,
    ATTEMPTS,
    DELETED,
    NOBODY,
    Driver,
    JobFailed,
    JobLost,
    JobRefused,
    ignore,
)
from resources.compute.log_rules import end_of, rule_of, ruled
from resources.compute.rayjob.inputs import write_inputs
from resources.compute.rayjob.manifest import (
    JOB_LABEL,
    RUN_LABEL,
    avoiding,
    name_of,
    policy_of,
    ray_job,
)
from resources.compute.rayjob.state import RayJobState, cause_of_loss
from resources.compute.rayjob.watcher import Watcher
from resources.compute.requirements import Requirements
from resources.kubernetes_api.client import (
    AlreadyThere,
    Cluster,
    ClusterRefused,
    ClusterUnavailable,
)
from resources.kubernetes_api.settings import ClusterSettings

log = logging.getLogger(__name__)
R = TypeVar("R", bound=JobResult)
# More than a deleted RayJob may take: `STOP_S` until Ray's job has ended, `GRACE_S` for its pods.
GONE_WITHIN_S = 180.0


def smallest_job(cluster: ClusterSettings) -> dict[str, str]:
    """What the pod of a job asks for whose declaration asks for nothing."""
    created = ray_job("job", "module", "s3://bucket", "run", Requirements(), cluster)
    head = created["spec"]["rayClusterSpec"]["headGroupSpec"]["template"]["spec"]
    return head["containers"][0]["resources"]["requests"]


class KubeRay:
    """Runs engine jobs as RayJobs."""

    ray_address: str | None = "auto"

    def __init__(self, work: Path, objects: str, cluster: Cluster) -> None:
        self._work, self._objects, self._cluster = work, objects.rstrip("/"), cluster
        self._settings = cluster.settings

    def workdir(self, job: str) -> Path:
        """Folder of the job on this machine; the engine's own is elsewhere."""
        return self._work / job

    def ray_storage(self, job: str) -> str:
        """Where the checkpoints of several workers lie."""
        return f"{self._objects}/jobs/{job}/ray"

    @contextmanager
    def loading(self, module: str, job: str) -> Iterator[None]:
        """Nothing to load beforehand: the engine's modules are on another machine."""
        yield

    def run(
        self,
        module: str,
        spec: JobSpec,
        kind: type[R],
        on_progress: Callable[[Progress], None],
        on_output: Callable[[Output], None] = ignore,
        stall_s: float = 1_800,
        requirements: Requirements = ANY,
        driver: Driver = NOBODY,
    ) -> R:
        """The result of `python -m MODULE SPEC`, run on the cluster; its files lie in the work
        directory.

        Raises JobRefused or JobLost with the engine's own words or what the cluster says, and
        OSError while the bucket cannot be reached: the job goes on, and the same call adopts it.
        A Kubernetes API that does not answer is waited for, and the job goes on meanwhile.
        """
        spec = spec.model_copy(update={"stall_s": stall_s})
        bucket, name = self._bucket(spec.job), name_of(spec.job)
        if result := self._result(bucket, spec, kind):
            return result
        wanted = ray_job(spec.job, module, bucket.uri, driver.run, requirements, self._settings)
        lost = JobFailed("")
        try:
            for attempt in range(1, ATTEMPTS + 1):
                self._begin_at_last(bucket, spec, wanted, on_progress, driver)
                watcher = Watcher(self._cluster, bucket, name, on_progress, on_output, driver)
                message = watcher.to_the_end(spec, stall_s)
                outcome = self._outcome(bucket, spec, kind, message)
                if not isinstance(outcome, JobFailed):
                    self._release(name)
                    return outcome
                found = rule_of(requirements.log_rules, self._log(bucket, spec, requirements))
                lost = ruled(outcome, found)
                if isinstance(lost, JobRefused):
                    raise lost
                if found and found[0].then == "other_node" and (nodes := self._nodes_of(spec.job)):
                    wanted = avoiding(wanted, nodes)
                self._release(name)
                report = Progress(time.time(), attempt, ATTEMPTS, "attempt", f"was lost: {lost}")
                first = str(lost).partition("\n")[0]
                said = f"attempt {attempt} of {ATTEMPTS} was lost: {first}"
                on_progress(replace(report, state="waiting", reason=said))
        except JobRefused:
            self._release(name)
            raise
        except (OSError, JobLost):
            # It goes on without its driver, and waits to be adopted.
            raise
        except BaseException:
            if driver.is_cancelled():
                self._release(name)
                self._keep_checkpoints(bucket, spec)
            raise
        message = f"{lost}\n(after {ATTEMPTS} attempts; the job's folder: {bucket.uri})"
        raise lost.told_as(JobLost, message)

    def lack_of(self, requirements: Requirements) -> str:
        """A kind of GPU that the cluster does not have; how much there is, its queues decide."""
        kinds = self._settings.gpu_labels
        if requirements.gpu_kind is None or requirements.gpu_kind in kinds:
            return ""
        known = ", ".join(kinds) or "none"
        return (
            f"the job asks for GPUs of kind {requirements.gpu_kind}; this cluster has {known}"
            f"{hint(requirements.gpu_kind, kinds)} (ORRERY_CLUSTER_GPU_KINDS)"
        )

    def forget(self, job: str) -> None:
        """Remove everything of the job, once what it made is stored elsewhere."""
        self._cluster.delete("RayJob", name_of(job))
        bucket = self._bucket(job)
        bucket.delete([key for key, _ in bucket.walk()])
        shutil.rmtree(self.workdir(job), ignore_errors=True)

    def end_abandoned(self, is_wanted: Callable[[str], bool]) -> list[str]:
        """Names of RayJobs whose dagster_run nobody waits for, now deleted."""
        ended = []
        for rayjob in self._cluster.find("RayJob", RUN_LABEL):
            name = rayjob["metadata"]["name"]
            if is_wanted(rayjob["metadata"]["labels"][RUN_LABEL]):
                continue
            try:
                self._cluster.delete("RayJob", name)
                ended.append(name)
            except ClusterRefused as error:
                # One that cannot be deleted keeps no other.
                log.warning("RayJob %s is left: %s", name, error)
        return ended

    def _bucket(self, job: str) -> Bucket:
        return Bucket(f"{self._objects}/jobs/{job}")

    def _release(self, name: str) -> None:
        """Delete the RayJob, whose end nobody waits for; while the API does not answer it is left
        to the sweep."""
        try:
            self._cluster.delete("RayJob", name)
        except ClusterUnavailable as error:
            log.warning("RayJob %s is left to the sweep: %s", name, error)

    def _begin_at_last(
        self,
        bucket: Bucket,
        spec: JobSpec,
        wanted: dict[str, Any],
        on_progress: Callable[[Progress], None],
        driver: Driver,
    ) -> None:
        """See to it that the RayJob is there, however long the Kubernetes API is away."""
        is_told = False
        while True:
            try:
                self._begin(bucket, spec, wanted)
                return
            except ClusterUnavailable as error:
                if driver.is_deleted():
                    raise JobRefused(DELETED) from error
                if not is_told:
                    said = f"waits for the Kubernetes API, which does not answer: {error}"
                    waits = Progress(time.time(), 0, None, "cluster", said)
                    on_progress(replace(waits, state="waiting", reason=said))
                is_told = True
                if bucket.size("lease") is not None:
                    # The RayJob may be there, and its engine would end without a driver.
                    bucket.put("lease", str(time.time_ns()).encode())
                time.sleep(self._settings.poll_s)

    def _begin(self, bucket: Bucket, spec: JobSpec, wanted: dict[str, Any]) -> None:
        """See to it that the RayJob is there: adopted, or asked for."""
        end = time.monotonic() + GONE_WITHIN_S
        while True:
            existing = self._cluster.get("RayJob", wanted["metadata"]["name"])
            if existing is not None and not RayJobState.of(existing).is_over:
                self._join_pods(existing)
                return
            if existing is None:
                # Before the RayJob, whose engine reads the spec as soon as it runs.
                write_inputs(bucket, spec)
                try:
                    self._join_pods(self._cluster.create(wanted))
                except AlreadyThere:
                    # Another driver of the job was faster, and its RayJob is adopted.
                    continue
                except ClusterRefused as error:
                    raise JobRefused(str(error)) from error
                return
            # One that ended without a result, or that is being deleted, gives up its name first.
            self._cluster.delete("RayJob", wanted["metadata"]["name"])
            if time.monotonic() > end:
                raise JobLost(f"RayJob {wanted['metadata']['name']} does not go away")
            time.sleep(min(0.2, self._settings.poll_s))

    def _join_pods(self, ray_job: dict[str, Any]) -> None:
        """Let the pods of the job reach each other, where it has several."""
        if policy := policy_of(ray_job):
            with suppress(AlreadyThere):
                self._cluster.create(policy)

    def _result(self, bucket: Bucket, spec: JobSpec, kind: type[R]) -> R | None:
        """The result with its files in the work directory, or None where there is none, or where
        another attempt may do better. Raises JobRefused."""
        try:
            document = json.loads(bucket.get("result.json"))
        except FileNotFoundError:
            return None
        result = kind.model_validate(relocated(document, WORKDIR, f"{spec.workdir}/"))
        if result.failure is not None:
            if result.failure.kind == "refused":
                raise JobRefused.of(result.failure)
            return None
        spec.workdir.mkdir(parents=True, exist_ok=True)
        bucket.download_folder("outputs", spec.workdir)
        for name in ("engine.log", "progress.jsonl"):
            download(bucket, name, spec.workdir / name)
        return result

    def _outcome(self, bucket: Bucket, spec: JobSpec, kind: type[R], message: str) -> R | JobFailed:
        """What came of an attempt of which the cluster says so."""
        try:
            result = self._result(bucket, spec, kind)
        except JobRefused as refusal:
            return refusal
        if result is not None:
            return result
        try:
            failure = JobResult.model_validate_json(bucket.get("result.json")).failure
        except (FileNotFoundError, ValidationError):
            failure = None
        if failure is None:
            return JobLost(message, cause_of_loss(message))
        return JobLost(failure.message, failure.cause, failure.detail)

    def _log(self, bucket: Bucket, spec: JobSpec, requirements: Requirements) -> str:
        """The end of the job's log, where rules ask for it."""
        if not requirements.log_rules:
            return ""
        place = spec.workdir / "attempt.log"
        place.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileNotFoundError):
            download(bucket, "engine.log", place)
        return end_of(place)

    def _nodes_of(self, job: str) -> list[str]:
        """Names of the nodes on which the job's pods are."""
        pods = self._cluster.find("Pod", f"{JOB_LABEL}={job}")
        return sorted({pod["spec"]["nodeName"] for pod in pods if pod["spec"].get("nodeName")})

    def _keep_checkpoints(self, bucket: Bucket, spec: JobSpec) -> None:
        """Bring what a cancelled job had reached into the work directory."""
        bucket.download_folder(CHECKPOINTS, spec.workdir / CHECKPOINTS)
