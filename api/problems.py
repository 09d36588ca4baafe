"""Problem documents (RFC 9457): every error of the API, with a stable type and what to do."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict

MEDIA_TYPE = "application/problem+json"


class ProblemType(NamedTuple):
    """A kind of problem; its type is the address `/problems/SLUG`."""

    status: int
    title: str
    todo: str
    """What to do where the problem itself does not say it better."""


TYPES: dict[str, ProblemType] = {
    "malformed": ProblemType(400, "The request cannot be read", "Send JSON in UTF-8."),
    "unauthenticated": ProblemType(
        401, "No valid sign-in", "Send `Authorization: Bearer KEY`, or sign in."
    ),
    "forbidden": ProblemType(
        403, "Not allowed", "Ask an admin of your organization for the right."
    ),
    "budget-exceeded": ProblemType(403, "The budget is used up", "Ask for a larger budget."),
    "not-found": ProblemType(404, "No such thing", "Look at what the list of its kind shows."),
    "method-not-allowed": ProblemType(405, "No such method here", "See /openapi.json."),
    "conflict": ProblemType(409, "It does not fit what is there", "Read the present state first."),
    "stale-plan": ProblemType(
        409, "The plan no longer holds", "Look at the new preview, and agree to its plan hash."
    ),
    "precondition-failed": ProblemType(
        412, "It was changed since it was read", "Read it again, and send its new ETag."
    ),
    "too-large": ProblemType(413, "The body is too large", "Send less at once."),
    "unsupported-media": ProblemType(
        415, "Not a kind of body this takes", "Send `Content-Type: application/json`."
    ),
    "invalid": ProblemType(422, "The request does not fit", "Mend the fields that `errors` names."),
    "capacity": ProblemType(
        422, "More than there is", "Ask for resources that this installation has."
    ),
    "rate-limited": ProblemType(429, "Too many requests", "Wait as long as Retry-After says."),
    "internal": ProblemType(
        500, "The platform failed", "Try again; tell an operator the request id if it stays."
    ),
    "not-configured": ProblemType(501, "Not set up here", "Ask an operator to configure it."),
    "upstream-failed": ProblemType(502, "An outside service failed", "Try again later."),
    "unavailable": ProblemType(
        503, "A part of the platform does not answer", "Try again as Retry-After says."
    ),
    "not-serving": ProblemType(503, "Nothing serves", "Deploy the service, or wait for it."),
}
ALWAYS = (
    "malformed",
    "unauthenticated",
    "forbidden",
    "too-large",
    "invalid",
    "rate-limited",
    "unavailable",
)
"""Problems that every operation may answer with."""


class FieldError(BaseModel):
    """One field that does not fit."""

    field: str
    message: str


class ProblemDocument(BaseModel):
    """A problem, for programs and people (RFC 9457)."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    type: str
    """Stable address of the kind of problem."""
    title: str
    status: int
    detail: str
    """What happened, what was got, what was expected."""
    todo: str
    """What to do about it."""
    instance: str
    """Id of the request."""
    errors: list[FieldError] = []


class Problem(Exception):
    """An answer that is not what was asked for."""

    def __init__(
        self,
        slug: str,
        detail: str,
        *,
        todo: str = "",
        errors: Sequence[FieldError] = (),
        retry_after_s: int | None = None,
    ) -> None:
        super().__init__(detail)
        self.slug, self.detail, self.errors = slug, detail, list(errors)
        self.kind = TYPES[slug]
        self.todo = todo or self.kind.todo
        self.headers: dict[str, str] = {}
        if retry_after_s is not None:
            self.headers["Retry-After"] = str(max(1, retry_after_s))
        if slug == "unauthenticated":
            self.headers["WWW-Authenticate"] = 'Bearer realm="orrery"'

    def document(self, instance: str = "") -> ProblemDocument:
        """The problem as a document."""
        return ProblemDocument(
            type=f"/problems/{self.slug}",
            title=self.kind.title,
            status=self.kind.status,
            detail=self.detail,
            todo=self.todo,
            instance=instance,
            errors=self.errors,
        )

    def response(
        self, instance: str = "", headers: Mapping[str, str] | None = None
    ) -> JSONResponse:
        """The problem as an answer."""
        return JSONResponse(
            self.document(instance).model_dump(),
            self.kind.status,
            {**self.headers, **(headers or {})},
            MEDIA_TYPE,
        )


def not_found(kind: str, name: str, hint: str = "") -> Problem:
    """What is not there, or belongs to somebody else: the answer does not tell which."""
    return Problem("not-found", f"there is no {kind} {name!r}{hint}")


def invalid(message: str, field: str = "") -> Problem:
    """A request with one field that does not fit."""
    errors = [FieldError(field=field, message=message)] if field else []
    return Problem("invalid", message, errors=errors)


def documented(slugs: Sequence[str]) -> dict[int | str, dict[str, Any]]:
    """The problems as OpenAPI responses, by status."""
    responses: dict[int | str, dict[str, Any]] = {}
    for slug in slugs:
        kind = TYPES[slug]
        known = responses.get(kind.status)
        title = f"{known['description']}; {kind.title}" if known else kind.title
        described: dict[str, Any] = {
            "model": ProblemDocument,
            "description": title,
            "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemDocument"}}},
        }
        if kind.status in (429, 503):
            described["headers"] = {
                "Retry-After": {"schema": {"type": "integer"}, "description": "Seconds to wait."}
            }
        responses[kind.status] = described
    return responses
