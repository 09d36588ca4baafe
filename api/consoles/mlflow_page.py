"""The page that loads MLflow's UI: it opens on training, without the parts that are closed here.

MLflow has no settings for this: what is open and what was read it keeps in the browser's own
storage, and its assistant opens by itself on the first visit.
"""

import json

from starlette.types import Message, Scope, Send

PATH = "/mlflow/"
FIRST = {
    "mlflow.workflowType_v1": "machine_learning",
    "mlflow.home.getting-started.collapsed_v1": True,
}
"""Values of the browser's storage for somebody who has not chosen yet."""
ALWAYS = {
    "mlflow.assistant.panelOpen_v1": False,
    "mlflow.assistant.fab.autoOpenedOnFirstLoad_v1": True,
    "mlflow.settings.telemetry.enabled_v1": False,
    "mlflow.telemetry.info.alert.dismissed_v1": True,
}
HIDDEN = (
    "[data-assistant-ui]",
    "[data-component-id='mlflow.home.demo-banner.launch']",
    "a[href='#/gateway']",
    "a[href='#/mcp-registry']",
)
"""Parts that would call what the gate refuses."""
ADDED = (
    "<style>{hidden}{{display:none!important}}</style>"
    "<script>for(const[k,v]of Object.entries({first}))if(localStorage.getItem(k)===null)"
    "localStorage.setItem(k,JSON.stringify(v));for(const[k,v]of Object.entries({always}))"
    "localStorage.setItem(k,JSON.stringify(v))</script>"
).format(hidden=",".join(HIDDEN), first=json.dumps(FIRST), always=json.dumps(ALWAYS))
CHANGED = (b"content-length", b"etag", b"last-modified", b"content-md5")


def is_page(scope: Scope) -> bool:
    """Whether the request is for the page."""
    return scope["path"] == PATH and scope.get("method") == "GET"


def with_choices(send: Send) -> Send:
    """A send that writes the choices into the page's head."""
    start: Message = {}
    parts: list[bytes] = []

    async def sent(message: Message) -> None:
        if message["type"] == "http.response.start":
            start.update(message)
            return
        parts.append(message.get("body", b""))
        if message.get("more_body"):
            return
        body = b"".join(parts).replace(b"<head>", b"<head>" + ADDED.encode(), 1)
        kept = [(name, value) for name, value in start["headers"] if name.lower() not in CHANGED]
        length = (b"content-length", str(len(body)).encode())
        await send({**start, "headers": [*kept, length]})
        await send({"type": "http.response.body", "body": body})

    return sent
