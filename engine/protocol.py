"""The engine contract: a process reads a JSON spec and ends with one atomic `result.json`.

Everything an engine and its driver say to each other lies in the job's work directory, so a
driver that starts anew can adopt a process that is already running:

    spec.json       what to do
    progress.jsonl  one line per report (engine.progress)
    engine.log      standard output and error
    lease           touched by the driver; an engine whose lease is old stops itself
    result.json     written once, atomically, at the end
"""

import contextlib
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Literal, NoReturn, Self, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from engine import silence
from engine.cause import Cause, cause_of

S = TypeVar("S", bound="JobSpec")

SPEC_WITHIN_S = 120.0
EXIT_DONE = 0
EXIT_REFUSED = 2
"""Will never work: the same spec would fail the same way."""
EXIT_TRY_AGAIN = 75
"""The surroundings failed (EX_TEMPFAIL of sysexits.h): the same spec may work later."""


class Contract(BaseModel):
    """Data that crosses between a driver and an engine: immutable and closed."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class JobSpec(Contract):
    """The specification of every engine job."""

    job: str
    """Identity of the work; a retry has the same one."""
    workdir: Path
    lease_s: float = 30.0
    """Age of the lease at which the engine stops itself; its driver is gone."""
    timeout_s: float
    """Longest time the job may take."""
    stall_s: float = 1_800
    """Longest silence between two reports before its driver stops it as hung."""

    def write(self) -> Path:
        """Path of the spec, written into the work directory."""
        self.workdir.mkdir(parents=True, exist_ok=True)
        path = self.workdir / "spec.json"
        write_atomically(path, self.model_dump_json(indent=2))
        return path


class Failure(Contract):
    """Why a job did not end well."""

    kind: Literal["refused", "try_again"]
    message: str
    """What happened, what was got, what was expected, what to do."""
    detail: str = ""
    """Trace, for the person who writes the training code."""
    cause: Cause = "exception"


class JobResult(Contract):
    """What every engine job answers; each engine adds its own fields."""

    failure: Failure | None = None

    @classmethod
    def read(cls, workdir: Path) -> Self | None:
        """The result in the work directory, or None while there is none."""
        try:
            return cls.model_validate_json((workdir / "result.json").read_bytes())
        except FileNotFoundError:
            return None


class Refused(Exception):
    """The job can never work as it is asked for."""

    cause: Cause = "refused"


class Diverged(Refused):
    """What was learned or measured is not a finite number."""

    cause: Cause = "not_finite"


class UnusableRows(Refused):
    """The rows are not what the work can be done with."""

    cause: Cause = "bad_data"


class TryAgain(Exception):
    """The surroundings failed; the same job may work later."""

    cause: Cause = "outage"


FINAL_OS_ERRORS = (
    FileExistsError,
    FileNotFoundError,
    IsADirectoryError,
    NotADirectoryError,
    PermissionError,
)


def is_outage(error: OSError) -> bool:
    """Whether the same call may work later: a broken connection or a full disk, and not a file
    that is missing or forbidden."""
    return not isinstance(error, FINAL_OS_ERRORS)


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write the file whole or not at all, even through a power cut.

    Raises OSError; then the old content, or absence, stands.
    """
    data = content.encode() if isinstance(content, str) else content
    # In the same folder, because a rename is atomic only within one file system; the ids
    # keep apart two processes, or threads of one, that write the same file.
    draft = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")
    try:
        with draft.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def run_engine(kind: type[S], work: Callable[[S], JobResult], argv: list[str]) -> int:
    """Exit code of one engine job: reads the spec named in argv, works, writes the result."""
    if len(argv) != 2:
        sys.stderr.write(f"usage: python -m {kind.__module__.split('.')[0]}.main SPEC\n")
        return EXIT_REFUSED
    # A driver started in the background of a script ignores SIGINT, and Dagster then SIGTERM too.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        spec = kind.model_validate_json(_awaited(Path(argv[1])))
    except (OSError, ValidationError) as error:
        sys.stderr.write(f"the spec {argv[1]!r} cannot be used: {error}\n")
        return EXIT_REFUSED
    silence.watch(spec.stall_s)
    result = _result_of(work, spec)
    if result.failure and result.failure.detail:
        sys.stderr.write(result.failure.detail)
    write_atomically(spec.workdir / "result.json", result.model_dump_json(indent=2))
    return exit_code(result)


def end_process(code: int) -> NoReturn:
    """End at once: what the work has left behind, such as a thread that waits for ever, must not
    keep a process whose result is written."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)


def _result_of(work: Callable[[S], JobResult], spec: S) -> JobResult:
    process = os.getpid()
    try:
        result = work(spec)
    except TryAgain as error:
        result = _failed("try_again", error)
    except OSError as error:
        result = _failed("try_again" if is_outage(error) else "refused", error)
    except Exception as error:
        result = _failed("refused", error)
    # Not an `Exception`: a trainer's `sys.exit` would end the engine without a result.
    except SystemExit as error:
        result = _failed("refused", Refused(f"the work ended itself by sys.exit({error.code!r})"))
    if os.getpid() != process:
        # A copy that the work has forked and let go on: the result is the original's to write.
        end_process(EXIT_DONE)
    return result


def _awaited(path: Path) -> bytes:
    """The spec's bytes; an engine may be started, to load its modules, before there is one.

    Raises OSError when none comes.
    """
    end = time.monotonic() + SPEC_WITHIN_S
    while path.parent.is_dir() and not path.exists() and time.monotonic() < end:
        time.sleep(0.01)
    return path.read_bytes()


def exit_code(result: JobResult) -> int:
    """Exit code that tells a driver whether another attempt makes sense."""
    if result.failure is None:
        return EXIT_DONE
    return EXIT_REFUSED if result.failure.kind == "refused" else EXIT_TRY_AGAIN


def _failed(kind: Literal["refused", "try_again"], error: Exception) -> JobResult:
    cause = cause_of(error)
    if kind == "try_again" and cause == "exception":
        cause = "outage"
    if isinstance(error, MemoryError):
        # What filled the memory hangs on the frames, and the result needs some memory itself.
        traceback.clear_frames(error.__traceback__)
    message = str(error) or type(error).__name__
    if not isinstance(error, (Refused, TryAgain)):
        message = f"{type(error).__name__}: {message}"
    detail = traceback.format_exc()
    return JobResult(
        failure=Failure(kind=kind, message=legible(message), detail=legible(detail), cause=cause)
    )


def legible(text: str) -> str:
    """The text with an escape for what UTF-8 cannot hold."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
