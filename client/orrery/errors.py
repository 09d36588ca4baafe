"""Errors of the client: what the platform refused, by its code, and what else can go wrong."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from orrery.job import Job

SHOWN_LINES = 20


class OrreryError(Exception):
    """Whatever the client raises."""


class NoKey(OrreryError):
    """No key was found to sign in with."""


class Unreachable(OrreryError):
    """Nobody answers at the address, or not as the platform does."""

    def __init__(self, text: str, *, is_outage: bool = False) -> None:
        super().__init__(text)
        self.is_outage = is_outage
        """Whether the same request may be answered later."""


class UnexpectedAnswer(OrreryError):
    """The platform's answer has another form than this version of the client expects."""


class MissingExtra(OrreryError, ImportError):
    """A package is needed that the extra `notebook` installs."""


class JobStopped(OrreryError):
    """A job was stopped before it was done."""

    def __init__(self, job: "Job", text: str) -> None:
        super().__init__(text)
        self.job = job


class JobFailed(OrreryError):
    """A job failed."""

    def __init__(self, job: "Job", lines: list[str]) -> None:
        self.job, self.reason, self.lines = job, job.message, lines
        last = "".join(f"\n  {line}" for line in lines[-SHOWN_LINES:])
        shown = f"\nThe last lines of its log:{last}" if last else ""
        super().__init__(f"{job} failed: {self.reason}{shown}\nSee more with job.logs().")


class Refused(OrreryError):
    """The platform refused the request. Each code has a class of its own below."""

    code = ""
    """Stable name of the kind of refusal, such as `not-found`."""

    def __init__(self, problem: Mapping[str, Any], retry_after_s: float | None = None) -> None:
        self.problem = dict(problem)
        """The whole problem document."""
        self.code = code_of(problem) or type(self).code
        self.status: int = int(problem.get("status") or 0)
        self.title = str(problem.get("title") or "")
        self.detail = str(problem.get("detail") or "")
        """What happened, what was got, what was expected."""
        self.todo = str(problem.get("todo") or "")
        """What to do about it."""
        self.request_id = str(problem.get("instance") or "")
        self.fields = {
            str(error.get("field")): str(error.get("message"))
            for error in problem.get("errors") or ()
        }
        """What is wrong with each field that does not fit."""
        self.retry_after_s = retry_after_s
        """Seconds after which to come again, where the platform says so."""
        told = "".join(f"\n  {field}: {message}" for field, message in self.fields.items())
        super().__init__(f"{self.title}: {self.detail}{told}\n{self.todo}".strip())


class Malformed(Refused):
    """The request cannot be read."""

    code = "malformed"


class Unauthenticated(Refused):
    """The key is not valid."""

    code = "unauthenticated"


class Forbidden(Refused):
    """The key does not have the right."""

    code = "forbidden"


class BudgetExceeded(Refused):
    """The budget of the key is used up."""

    code = "budget-exceeded"


class NotFound(Refused):
    """There is no such thing."""

    code = "not-found"


class MethodNotAllowed(Refused):
    """The address does not take this method."""

    code = "method-not-allowed"


class Conflict(Refused):
    """The request does not fit what is there."""

    code = "conflict"


class StalePlan(Refused):
    """A plan no longer holds."""

    code = "stale-plan"


class PreconditionFailed(Refused):
    """It was changed since it was read."""

    code = "precondition-failed"


class TooLarge(Refused):
    """The request, or what it asks for, is too large."""

    code = "too-large"


class UnsupportedMedia(Refused):
    """The address does not take a body of this kind."""

    code = "unsupported-media"


class Invalid(Refused):
    """Some fields do not fit; `fields` says which, and why."""

    code = "invalid"


class Capacity(Refused):
    """The request asks for more than the installation has."""

    code = "capacity"


class RateLimited(Refused):
    """Too many requests in a minute."""

    code = "rate-limited"


class Internal(Refused):
    """The platform failed."""

    code = "internal"


class NotConfigured(Refused):
    """The platform is not set up for this."""

    code = "not-configured"


class UpstreamFailed(Refused):
    """A service outside the platform, or a model, failed."""

    code = "upstream-failed"


class Unavailable(Refused):
    """A part of the platform does not answer at the moment."""

    code = "unavailable"


class NotServing(Refused):
    """No version of the service answers."""

    code = "not-serving"


def code_of(problem: Mapping[str, Any]) -> str:
    """Code of a problem document; empty where it is none."""
    return str(problem.get("type") or "").rpartition("/problems/")[2]


def refusal(problem: Mapping[str, Any], retry_after_s: float | None = None) -> Refused:
    """The problem document as an exception of its code's class."""
    classes = {kind.code: kind for kind in Refused.__subclasses__()}
    return classes.get(code_of(problem), Refused)(problem, retry_after_s)
