"""ETags: what tells one state of a thing from another, as HTTP writes and compares it."""

import hashlib

from api.problems import Problem


def etag_of(content: bytes) -> str:
    """Strong ETag of the content, as HTTP writes it."""
    return f'"{hashlib.sha256(content).hexdigest()[:32]}"'


def require_match(if_match: str | None, etag: str) -> None:
    """Return when the condition of `If-Match` holds; raises `precondition-failed`."""
    if if_match is None or if_match.strip() == "*":
        return
    if etag not in [part.strip() for part in if_match.split(",")]:
        raise Problem("precondition-failed", f"got {if_match}, but its ETag is {etag} now")
