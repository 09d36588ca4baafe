"""One engine job on another machine: `python -m engine.remote s3://bucket/jobs/JOB MODULE`.

Its driver and it meet in a folder of the bucket:

    spec.json       what to do, written by the driver; paths inside its work directory begin with
                    `workdir://`
    inputs/         files that the spec names
    lease           written anew by the driver while it lives
    attempt         who works here now
    progress.jsonl.parts/, engine.log.parts/, checkpoints/, trials/, search/   copied here every
                    `SYNC_S` while the engine works; of the first two every attempt has parts of
                    its own; of a search the records of its trials
    outputs/        files that the result names
    result.json     written last

Started again, on whichever machine, it takes up the checkpoints, trials and progress that lie
there; a trial of a search that was under way begins anew.

timeout: none of its own; the driver stops a job by deleting the pod.
retry: passing errors of the bucket are the bucket's to repeat; a copy that fails is made again at
    the next time, the last ones must succeed.
cancel: SIGTERM ends the engine, copies what was reached, and ends this with code 143.
duplicate: a result that is there already is not made again. Of two that run the newer one goes
    on; the older one ends and copies nothing more.
partial write: an object appears whole, and a checkpoint counts once its manifest, copied last, is
    there; the driver reads nothing but the result, which is written last.
"""

import contextlib
import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from engine import lease
from engine.artefact import MANIFEST, is_sealed
from engine.attempt import PID_FILE, Attempt, Resubmitted, Superseded
from engine.bucket import Bucket
from engine.checkpoints import CHECKPOINTS
from engine.growing_file import GrowingFile
from engine.overtime import Overtime
from engine.protocol import EXIT_TRY_AGAIN, JobResult, exit_code, write_atomically
from engine.trial_folder import ENDING, RECORDS, SEARCH, TRIALS

SYNC_S = 2.0
LOOK_S = 0.1
# Less than the pod's hook waits (`STOP_S` of rayjob/manifest.py), so that time is left to copy.
STOP_WITHIN_S = 20.0
# 128 + SIGTERM, as a shell reports a process that was terminated.
EXIT_STOPPED = 143
STOPPING = (signal.SIGTERM, signal.SIGINT)
WORKDIR = "workdir://"
GROWING = ("progress.jsonl", "engine.log")
log = logging.getLogger("engine.remote")


def relocated(value: Any, old: str, new: str) -> Any:
    """The JSON value, with `new` in place of `old` at the beginning of every text."""
    if isinstance(value, str):
        return new + value[len(old) :] if value.startswith(old) else value
    if isinstance(value, list):
        return [relocated(each, old, new) for each in value]
    if isinstance(value, dict):
        return {key: relocated(each, old, new) for key, each in value.items()}
    return value


class Mirror:
    """A work directory of this machine, and its copy in the bucket."""

    def __init__(self, bucket: Bucket, workdir: Path, attempt: Attempt) -> None:
        self._bucket, self._workdir, self._attempt = bucket, workdir, attempt
        self._growing = {name: GrowingFile(bucket, name, attempt.writer) for name in GROWING}
        self._copied: set[str] = set()
        self._stamps: dict[str, tuple[int, int]] = {}
        """Time and size of the records of trials that are copied, by key."""
        self._known: set[str] = set()
        """Checkpoints in the bucket that this attempt has found or made; others are of an attempt
        that has taken over, and not this one's to delete."""

    def fetch(self) -> None:
        """Bring the spec, its inputs, and what an earlier attempt reached."""
        spec = relocated(json.loads(self._bucket.get("spec.json")), WORKDIR, f"{self._workdir}/")
        self._bucket.download_folder("inputs", self._workdir / "inputs")
        self._bucket.download_folder(CHECKPOINTS, self._workdir / CHECKPOINTS)
        for folder in (self._workdir / CHECKPOINTS).glob("[0-9]*"):
            self._known.add(folder.name)
            # An attempt that was killed leaves the last one half copied.
            if not is_sealed(folder):
                shutil.rmtree(folder)
        self._bucket.download_folder(TRIALS, self._workdir / TRIALS)
        self._copied.update(self._trials())
        self._bucket.download_folder(SEARCH, self._workdir / SEARCH)
        self._stamps = self._records()
        for name, copy in self._growing.items():
            copy.fetch(self._workdir / name)
        # Before the engine starts: without a lease it takes its driver for gone.
        lease.renew(self._workdir)
        spec["workdir"] = str(self._workdir)
        write_atomically(self._workdir / "spec.json", json.dumps(spec))

    def copy(self) -> None:
        """Copy progress, log, checkpoints and trials that are new. Raises Superseded or OSError."""
        self._attempt.require_newest(self._bucket)
        self._copy_checkpoints()
        for key in sorted(self._trials() - self._copied):
            self._bucket.upload(self._workdir / key, key)
            self._copied.add(key)
        for key, stamp in self._records().items():
            if self._stamps.get(key) != stamp:
                self._bucket.upload(self._workdir / key, key)
                self._stamps[key] = stamp
        for name, copy in self._growing.items():
            copy.upload(self._workdir / name)

    def finish(self) -> JobResult:
        """The result, which is copied after what it names. Raises Superseded or OSError."""
        self.copy()
        result = json.loads((self._workdir / "result.json").read_bytes())
        for path in _paths_in(result, f"{self._workdir}/"):
            key = f"outputs/{path.relative_to(self._workdir)}"
            if path.is_dir():
                self._bucket.upload_folder(path, key)
            elif path.exists():
                self._bucket.upload(path, key)
        text = relocated(result, f"{self._workdir}/", WORKDIR)
        # Asked again, because another attempt may have begun during the uploads.
        self._attempt.require_newest(self._bucket)
        self._bucket.put("result.json", json.dumps(text).encode())
        return JobResult(failure=result.get("failure"))

    def _trials(self) -> set[str]:
        """Keys of the trials that lie in the work directory."""
        return {f"{TRIALS}/{file.name}" for file in (self._workdir / TRIALS).glob(f"*{ENDING}")}

    def _records(self) -> dict[str, tuple[int, int]]:
        """Time and size of the records of a search's trials by key, the reports of a trial before
        how it ended."""
        found: dict[str, tuple[int, int]] = {}
        for name in RECORDS:
            for file in sorted((self._workdir / SEARCH).glob(f"[0-9]*/{name}")):
                stat = file.stat()
                found[f"{SEARCH}/{file.parent.name}/{name}"] = (stat.st_mtime_ns, stat.st_size)
        return found

    def _copy_checkpoints(self) -> None:
        checkpoints = sorted((self._workdir / CHECKPOINTS).glob("[0-9]*"))
        for folder in checkpoints:
            key = f"{CHECKPOINTS}/{folder.name}"
            # A folder that is not sealed is still being written.
            if key in self._copied or not is_sealed(folder):
                continue
            for file in sorted(p for p in folder.rglob("*") if p.is_file() and p.name != MANIFEST):
                self._bucket.upload(file, f"{key}/{file.relative_to(folder)}")
            self._bucket.upload(folder / MANIFEST, f"{key}/{MANIFEST}")
            self._copied.add(key)
            self._known.add(folder.name)
            # After the upload, so that the bucket has a whole checkpoint at any moment.
            self._drop(self._known - {each.name for each in checkpoints})

    def _drop(self, unwanted: set[str]) -> None:
        keys = [key for key, _ in self._bucket.walk(f"{CHECKPOINTS}/")]
        self._bucket.delete(key for key in keys if key.split("/")[1] in unwanted)
        self._known -= unwanted


class Watch:
    """Whether the driver lives: its lease in the bucket changes.

    How long it has not changed is measured on this machine's own clock, so that clocks that
    differ do no harm.
    """

    def __init__(self, bucket: Bucket, patience_s: float) -> None:
        self._bucket, self._patience_s = bucket, patience_s
        self._seen, self._since = b"", time.monotonic()

    def driver_lives(self) -> bool:
        """False once the lease has been the same for the patience."""
        try:
            lease = self._bucket.get("lease")
        except OSError as error:
            log.warning("the lease cannot be read: %s", error)
            lease = self._seen
        if lease != self._seen:
            self._seen, self._since = lease, time.monotonic()
        return time.monotonic() - self._since < self._patience_s


# Not an `Exception`, so that no error handler on the way catches it.
class Stopped(BaseException):
    """Somebody asked this process to end."""


def work(bucket: Bucket, module: str, workdir: Path, patience_s: float) -> int:
    """Exit code of the engine, whose result is in the bucket.

    Raises Resubmitted, Superseded or OSError.
    """
    if _is_done(bucket):
        return 0
    attempt = Attempt.of_environment().begin(bucket)
    mirror, watch = Mirror(bucket, workdir, attempt), Watch(bucket, patience_s)
    mirror.fetch()
    # Appended, because `fetch` has written what earlier attempts printed.
    with (workdir / "engine.log").open("ab") as output:
        engine = subprocess.Popen(
            [sys.executable, "-m", module, str(workdir / "spec.json")],
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            # The engine leads a process group, so that what it has started ends with it.
            start_new_session=True,
        )
    try:
        code = _follow(engine, mirror, watch, workdir)
    except Stopped:
        _stop(engine)
        mirror.copy()
        return EXIT_STOPPED
    except Superseded:
        _stop(engine)
        raise
    if (workdir / "result.json").exists():
        return exit_code(mirror.finish())
    mirror.copy()
    log.error("the engine ended with code %s and without a result", code)
    return EXIT_TRY_AGAIN


def _follow(engine: subprocess.Popen, mirror: Mirror, watch: Watch, workdir: Path) -> int:
    """Exit code of the engine; its lease is renewed for as long as its driver lives.

    Its result ends the job, whatever of it still runs.
    """
    copied = time.monotonic()
    overtime = Overtime(workdir)
    while (code := engine.poll()) is None:
        if overtime.is_over():
            _stop(engine)
            return engine.returncode
        if time.monotonic() - copied > SYNC_S:
            copied = time.monotonic()
            if watch.driver_lives():
                lease.renew(workdir)
            try:
                mirror.copy()
            except OSError as error:
                log.warning("a copy has to wait: %s", error)
        time.sleep(LOOK_S)
    # Processes that the engine has started and left would run on.
    with contextlib.suppress(ProcessLookupError):
        os.killpg(engine.pid, signal.SIGKILL)
    return code


def _stop(engine: subprocess.Popen) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(engine.pid, number)
            engine.wait(STOP_WITHIN_S)
        except ProcessLookupError:
            return
        except subprocess.TimeoutExpired:
            continue
        return


def _is_done(bucket: Bucket) -> bool:
    try:
        return json.loads(bucket.get("result.json")).get("failure") is None
    except FileNotFoundError:
        return False


def _paths_in(value: Any, prefix: str) -> set[Path]:
    if isinstance(value, str):
        return {Path(value)} if value.startswith(prefix) else set()
    each = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return set().union(*(_paths_in(one, prefix) for one in each))


def main(argv: list[str]) -> int:
    """Exit code of one job."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    if len(argv) != 4:
        sys.stderr.write("usage: python -m engine.remote s3://BUCKET/JOB MODULE LEASE_S\n")
        return 2

    def stop(*_: object) -> None:
        # Ray and the pod's hook may both ask; what is copied at the end is copied whole.
        for number in STOPPING:
            signal.signal(number, signal.SIG_IGN)
        raise Stopped

    for number in STOPPING:
        signal.signal(number, stop)
    # After the handlers are set: the reader of the process id sends SIGTERM to it.
    if pid_file := os.environ.get(PID_FILE):
        Path(pid_file).write_text(str(os.getpid()))
    with tempfile.TemporaryDirectory(prefix="orrery-job-", ignore_cleanup_errors=True) as folder:
        try:
            return work(Bucket(argv[1]), argv[2], Path(folder), float(argv[3]))
        except OSError:
            log.exception("the bucket cannot be used")
            return EXIT_TRY_AGAIN
        except (Resubmitted, Superseded) as error:
            log.error("%s", error)
            return EXIT_TRY_AGAIN
        except Stopped:
            return EXIT_STOPPED


if __name__ == "__main__":
    sys.exit(main(sys.argv))
