"""HTTP of the answering process, beyond what well-behaved clients send."""

import json
import re
import socket

import pytest

from tests.serving.conftest import answering_process

BODY = b'{"inputs": [[1, 1, 1, 1]]}'


@pytest.fixture(scope="module")
def port(packaged):
    with answering_process(packaged[0][1]) as client:
        yield client.base_url.port


@pytest.fixture
def connection(port):
    with socket.create_connection(("127.0.0.1", port), timeout=60) as channel:
        yield channel


def request(path=b"/predict", body=BODY, *headers):
    lines = [b"POST %b HTTP/1.1" % path, b"host: here", *headers]
    if not headers:
        lines.append(b"content-length: %d" % len(body))
    return b"\r\n".join([*lines, b"", body])


def answers(connection, count):
    """Status and body of so many answers, which come one after the other."""
    found, file = [], connection.makefile("rb")
    for _ in range(count):
        status, size = int(file.readline().split()[1]), 0
        while (line := file.readline().strip()) != b"":
            name, _, value = line.partition(b": ")
            size = int(value) if name == b"content-length" else size
        found.append((status, json.loads(file.read(size)) if size else None))
    return found


def test_requests_in_one_packet_are_answered_in_their_order(connection):
    pages = b"GET /livez HTTP/1.1\r\nhost: here\r\n\r\n"
    wrong = request(body=b'{"inputs": [[1]]}')
    connection.sendall(request() + pages + wrong + request(b"/v2/nothing") + request())
    found = answers(connection, 5)
    assert [status for status, _ in found] == [200, 200, 400, 404, 200]
    assert [sorted(said)[0] for _, said in found][:3] == [
        "dataset_version",
        "artefact_digest",
        "error",
    ]


def test_a_body_in_parts_is_put_together(connection):
    whole = request()
    for start in range(0, len(whole), 7):
        connection.sendall(whole[start : start + 7])
    assert answers(connection, 1)[0][1]["predictions"]


def test_a_body_in_chunks_is_put_together(connection):
    head = request(b"/predict", b"", b"transfer-encoding: chunked")
    connection.sendall(head + b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY))
    connection.sendall(request())
    assert [status for status, _ in answers(connection, 2)] == [200, 200]


def test_a_large_body_is_answered_like_a_small_one(connection):
    body = json.dumps({"inputs": [[1, 1, 1, 1]] * 20_000}).encode()
    connection.sendall(request(body=body) + request())
    (status, large), (_, small) = answers(connection, 2)
    assert status == 200
    assert large["outputs"] == small["outputs"] * 20_000


def test_a_client_that_waits_for_leave_to_send_its_body_gets_it(connection):
    length = b"content-length: %d" % len(BODY)
    connection.sendall(request(b"/predict", b"", b"expect: 100-continue", length))
    assert answers(connection, 1) == [(100, None)]
    connection.sendall(BODY)
    assert answers(connection, 1)[0][0] == 200


def test_a_client_that_wants_no_more_is_told_goodbye(connection):
    length = b"content-length: %d" % len(BODY)
    connection.sendall(request(b"/predict", BODY, b"connection: close", length))
    answer = b""
    while part := connection.recv(65_536):
        answer += part
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"connection: close\r\n" in answer


def test_what_is_no_http_is_refused(connection):
    connection.sendall(request() + b"nonsense\r\n\r\n")
    said = connection.makefile("rb").read()
    # Whether the first request is answered before, depends on how long its model takes.
    assert re.findall(rb"HTTP/1\.1 (\d+)", said)[-1] == b"400"
