"""Completions at the gateway: an answer is passed on as it comes, until its client leaves."""

import asyncio
from contextlib import asynccontextmanager

import pytest

from api.access.identity import PRINCIPAL
from api.predictions import forward
from api.predictions.forward import Predictions
from api.predictions.router_stream import streamed
from api.problems import Problem
from tests.waiting import PATIENCE_S

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nX-Other: 1\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
REFUSED = b"HTTP/1.1 503 X\r\nRetry-After: 2\r\nContent-Length: 2\r\n\r\n{}"
PATH = "/inference/services/farm.api/v1/chat/completions"


class Router:
    """A server that sends prepared bytes, the next of them when `more` is called."""

    def __init__(self, answers):
        self.answers, self.requests = list(answers), []
        self.gone = asyncio.Event()
        self._more = asyncio.Semaphore(0)

    def more(self):
        self._more.release()

    async def serve(self, reader, writer):
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r")[0])
        self.requests.append((head, await reader.readexactly(length)))
        for number, answer in enumerate(self.answers):
            if number:
                await self._more.acquire()
            writer.write(answer)
            await writer.drain()
        if not self.answers[-1].endswith(b"0\r\n\r\n"):
            await reader.read()
        self.gone.set()
        writer.close()


@asynccontextmanager
async def routing(*answers):
    router = Router(answers)
    server = await asyncio.start_server(router.serve, "127.0.0.1", 0)
    router.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/farm.api/predict"
    try:
        yield router
    finally:
        server.close()


class Performer:
    """Admits everybody."""

    platform = None

    def bind(self, name, handler):
        pass

    async def admit(self, call, operation):
        pass


class Principal:
    organization, projects = "default", None


async def asked(router, monkeypatch, sent, left):
    """Ask the gateway's route; what it sends goes to the queue, and `left` tells that the client
    has gone."""
    monkeypatch.setattr(forward, "_addresses", lambda call, service: {router.url: 100})
    bodies = [{"type": "http.request", "body": b'{"stream": true}'}]

    async def receive():
        if bodies:
            return bodies.pop()
        await left.wait()
        return {"type": "http.disconnect"}

    headers = [(b"content-type", b"application/json"), (b"authorization", b"Bearer secret")]
    scope = {"type": "http", "method": "POST", "path": PATH, "headers": headers}
    predictions = Predictions(Performer())
    await predictions({**scope, PRINCIPAL: Principal()}, receive, sent.put)


def run(work):
    return asyncio.run(asyncio.wait_for(work, PATIENCE_S))


def test_parts_are_passed_on_while_they_come(monkeypatch):
    async def go():
        answers = (CHUNKED + b"5\r\nfirst\r\n", b"4\r\nlast\r\n0\r\n\r\n")
        async with routing(*answers) as router:
            sent, left = asyncio.Queue(), asyncio.Event()
            asking = asyncio.create_task(asked(router, monkeypatch, sent, left))
            start, first = await sent.get(), await sent.get()
            assert not asking.done()
            router.more()
            await asking
            return router.requests, start, first, [sent.get_nowait() for _ in range(sent.qsize())]

    ((head, body),), start, first, rest = run(go())
    assert head.startswith(b"POST /farm.api/v1/chat/completions HTTP/1.1\r\n")
    assert b"Bearer" not in head
    assert body == b'{"stream": true}'
    assert (start["status"], start["headers"]) == (200, [(b"content-type", b"text/event-stream")])
    assert first["body"] == b"first"
    assert b"".join(each["body"] for each in rest) == b"last"
    assert not rest[-1].get("more_body")


def test_a_client_that_leaves_ends_the_request_to_the_router(monkeypatch):
    async def go():
        async with routing(CHUNKED + b"5\r\nfirst\r\n") as router:
            sent, left = asyncio.Queue(), asyncio.Event()
            asking = asyncio.create_task(asked(router, monkeypatch, sent, left))
            await sent.get()
            left.set()
            await asking
            await router.gone.wait()

    run(go())


def test_a_refusal_is_passed_on_with_when_to_ask_again(monkeypatch):
    async def go():
        async with routing(REFUSED) as router:
            sent = asyncio.Queue()
            await asked(router, monkeypatch, sent, asyncio.Event())
            return await sent.get()

    start = run(go())
    assert start["status"] == 503
    assert (b"retry-after", b"2") in start["headers"]


@pytest.mark.parametrize("answer", [b"", b"no http\r\n\r\n"])
def test_a_router_that_does_not_answer_is_a_problem(monkeypatch, answer):
    async def go():
        async with routing(answer + b"0\r\n\r\n" if answer else b"0\r\n\r\n") as router:
            await asked(router, monkeypatch, asyncio.Queue(), asyncio.Event())

    with pytest.raises(Problem, match=r"farm\.api does not answer"):
        run(go())


def test_an_answer_that_breaks_off_is_an_error():
    async def go():
        async with (
            routing(CHUNKED + b"9\r\nhalf0\r\n\r\n") as router,
            streamed("POST", router.url, b"", []) as answer,
        ):
            return [part async for part in answer.parts()]

    with pytest.raises(Exception, match="closed the connection"):
        run(go())
