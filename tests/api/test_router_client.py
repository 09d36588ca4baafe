"""The client of the router: open connections, and what happens when one is not what it was."""

import asyncio
from contextlib import asynccontextmanager

import pytest

from api.predictions import router_client
from api.predictions.forward import is_forwarded
from api.predictions.router_client import Reply, RouterClient, RouterUnavailable

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
CHUNKED = b"HTTP/1.1 422 X\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
LAST = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}"


class Router:
    """A server that gives prepared answers, one for each request; None ends the connection."""

    def __init__(self, answers):
        self.answers, self.connections, self.requests = list(answers), 0, []

    async def serve(self, reader, writer):
        self.connections += 1
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r")[0])
                self.requests.append(await reader.readexactly(length))
                answer = self.answers.pop(0)
                if answer is None:
                    break
                writer.write(answer)
        except asyncio.IncompleteReadError:
            pass
        finally:
            writer.close()


@asynccontextmanager
async def routing(*answers):
    router = Router(answers)
    server = await asyncio.start_server(router.serve, "127.0.0.1", 0)
    router.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/a/predict"
    client = RouterClient()
    try:
        yield router, client
    finally:
        client.close()
        server.close()
        await server.wait_closed()


def test_requests_one_after_the_other_share_a_connection():
    async def run():
        async with routing(ANSWER, CHUNKED, ANSWER) as (router, client):
            replies = [await client.post(router.url, body) for body in (b"1", b"22", b"333")]
            return router, replies

    router, replies = asyncio.run(run())
    assert replies == [Reply(200, b"{}", []), Reply(422, b"abcde", []), Reply(200, b"{}", [])]
    assert router.requests == [b"1", b"22", b"333"]
    assert router.connections == 1


def test_requests_at_once_have_a_connection_each():
    async def run():
        async with routing(*[ANSWER] * 5) as (router, client):
            await asyncio.gather(*[client.post(router.url, b"x") for _ in range(5)])
            return router.connections

    assert asyncio.run(run()) == 5


@pytest.mark.parametrize("ending", [LAST, ANSWER])
def test_a_connection_that_was_closed_meanwhile_costs_no_request(ending):
    async def run():
        async with routing(ending, None, ANSWER) as (router, client):
            await client.post(router.url, b"1")
            if ending == LAST:
                router.answers.pop(0)
            reply = await client.post(router.url, b"2")
            return router, reply

    router, reply = asyncio.run(run())
    assert reply == Reply(200, b"{}", [])
    assert router.connections == 2


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (None, "closed the connection"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\nhalf", "did not answer within"),
        (b"nonsense\r\n\r\n", "what is not HTTP"),
    ],
)
def test_an_answer_that_is_none_is_told(answer, says, monkeypatch):
    monkeypatch.setattr(router_client, "ANSWER_S", 0.2)

    async def run():
        async with routing(answer) as (router, client):
            await client.post(router.url, b"1")

    with pytest.raises(RouterUnavailable, match=says):
        asyncio.run(run())


def test_a_router_that_is_not_there_is_told():
    async def run():
        async with routing() as (router, client):
            url = router.url
        await client.post(url, b"1")

    with pytest.raises(RouterUnavailable, match="cannot be reached"):
        asyncio.run(run())


@pytest.mark.parametrize(
    ("method", "path", "is_one"),
    [
        ("POST", "/predict", True),
        ("GET", "/predict", False),
        ("GET", "/v2", True),
        ("GET", "/v2/", True),
        ("POST", "/v2/models/p.api/versions/1/infer", True),
        ("GET", "/v2/models/p.api/ready", True),
        ("POST", "/v1/chat/completions", True),
        ("GET", "/v1/models/p.api", True),
        ("GET", "/v3/models", False),
        ("GET", "/v2x", False),
        ("POST", "/v2/../../other.api/predict", False),
        ("GET", "/v2/models/../x", False),
        ("GET", "/v2//livez", False),
        ("GET", "/v2/a%2e%2e", False),
    ],
)
def test_only_paths_of_the_service_itself_are_passed_on(method, path, is_one):
    assert is_forwarded(method, f"/inference/services/p.api{path}") is is_one
