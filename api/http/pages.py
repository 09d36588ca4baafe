"""The few pages of the gateway itself, small enough to need no script."""

from html import escape
from urllib.parse import quote

from fastapi.responses import HTMLResponse

from accounts.principal import Principal
from api.operations.operation import Operation

STYLE = """
body{font:16px/1.5 system-ui,sans-serif;max-width:46rem;margin:4rem auto;padding:0 1rem}
body{color:#1d2433}
h1{font-size:1.6rem}h2{font-size:1.1rem;margin-top:2rem}a{color:#3451b2}
code,pre{background:#f2f4f8;border-radius:4px;padding:.1rem .3rem}
.button{display:inline-block;background:#3451b2;color:#fff;border:0;border-radius:6px;
padding:.5rem 1rem;text-decoration:none;font:inherit;cursor:pointer;margin:.25rem .5rem .25rem 0}
.quiet{color:#5b6478}table{border-collapse:collapse}
td,th{text-align:left;padding:.2rem .8rem .2rem 0}
"""
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
}


def page(title: str, body: str, status: int = 200) -> HTMLResponse:
    """An HTML page; the body is HTML already."""
    return HTMLResponse(
        f"<!doctype html><html lang=en><meta charset=utf-8>"
        f"<meta name=viewport content='width=device-width'><title>{escape(title)}</title>"
        f"<style>{STYLE}</style><h1>{escape(title)}</h1>{body}</html>",
        status,
        HEADERS,
    )


def home(principal: Principal) -> HTMLResponse:
    """Where a person arrives after the sign-in."""
    uis = (
        "<p><a class=button href=/dagster>Dagster</a> lineage, runs, schedules, sensors</p>"
        "<p><a class=button href=/mlflow/>MLflow</a> experiments and models</p>"
        if principal.sight
        else "<p class=quiet>The Dagster and MLflow pages show every organization of this "
        "installation; you do not belong to all, so the API and the command line are your way.</p>"
    )
    return page(
        "Orrery",
        f"<p>Signed in as <b>{escape(principal.name)}</b>, {escape(principal.role)} of "
        f"<b>{escape(principal.organization)}</b>.</p>{uis}"
        "<p><a class=button href=/docs>API</a> operations for programs and agents</p>"
        "<form method=post action=/sign-out><button class=button>Sign out</button></form>",
    )


def sign_in(next_path: str, providers: list[tuple[str, str]]) -> HTMLResponse:
    """Ways to sign in."""
    query = f"?next={quote(next_path, safe='/')}" if next_path else ""
    ways = "".join(
        f"<p><a class=button href='{path}{query}'>Sign in with {escape(name)}</a></p>"
        for name, path in providers
    )
    return page(
        "Sign in to Orrery",
        f"{ways}<p class=quiet>Or open a one-time link: the owner of this installation finds one "
        "where <code>orrery up</code> prints its addresses, and makes another with "
        "<code>orrery sign-in-link</code>. Programs send an API key instead.</p>",
    )


def refused(reason: str) -> HTMLResponse:
    """A sign-in that did not work."""
    body = f"<p>{escape(reason)}</p><p><a class=button href=/sign-in>Try again</a></p>"
    return page("The sign-in did not work", body, 403)


def reference(operations: tuple[Operation, ...]) -> HTMLResponse:
    """All operations, by group."""
    groups: dict[str, list[Operation]] = {}
    for operation in operations:
        groups.setdefault(operation.group, []).append(operation)
    parts = ["<p>The whole contract is <a href=/openapi.json>/openapi.json</a>.</p>"]
    for group, members in groups.items():
        rows = "".join(
            f"<tr><td><code>{o.method} {escape(o.path)}</code></td>"
            f"<td>{escape(o.summary)}</td></tr>"
            for o in members
        )
        parts.append(f"<h2>{escape(group)}</h2><table>{rows}</table>")
    return page("Orrery API", "".join(parts))
