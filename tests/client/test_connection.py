"""Requests survive an outage, refusals are final, and nothing shows the key."""

import logging
import threading
import time

import httpx
import pytest

import orrery
from orrery import connection, decoding, server_events
from tests.faulty_http import FaultyProxy

KEY = "ork_a-key-that-nobody-may-see"


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch):
    monkeypatch.setattr(connection, "PAUSES_S", (0.01,))


@pytest.fixture
def proxy(gateway):
    opened = FaultyProxy(gateway.url)
    yield opened
    opened.close()


@pytest.fixture
def client(proxy, gateway):
    with orrery.connect(proxy.url, gateway.admin_key) as connected:
        yield connected


def job_count(gateway) -> int:
    return len(gateway.admin.get("/jobs", params={"limit": 200}).json()["items"])


def test_a_submit_whose_answer_was_lost_is_one_job(proxy, client, gateway):
    before = job_count(gateway)
    proxy.lose_answers(2)
    job = client.train("flowers/classifier")
    assert [path for _, path in proxy.requests] == ["/train/jobs"] * 3
    assert job_count(gateway) == before + 1
    assert gateway.admin.get(f"/jobs/{job.id}").status_code == 200


def test_a_reading_request_is_sent_again_after_an_outage(proxy, client):
    proxy.fail(502, 2)
    assert client.me().role == "admin"
    assert len(proxy.requests) == 3


def test_a_refusal_is_never_sent_again_and_says_what_to_do(proxy, client):
    with pytest.raises(orrery.NotFound) as refused:
        client.train("flowers/clasifier")
    assert len(proxy.requests) == 1
    assert (refused.value.code, refused.value.status) == ("not-found", 404)
    assert "classifier" in refused.value.detail
    assert refused.value.todo in str(refused.value)
    assert refused.value.request_id


def test_a_refused_field_is_named(client):
    with pytest.raises(orrery.Invalid) as refused:
        client.train("flowers/classifier", seed=-1)
    assert set(refused.value.fields) == {"seed"}


def test_what_has_no_idempotency_key_is_not_sent_again(proxy, client):
    proxy.fail(503, 1)
    with pytest.raises(orrery.Unreachable):
        client.operations.agent.execute("projects.list")
    assert len(proxy.requests) == 1


def test_an_outage_that_outlasts_the_patience_is_raised(proxy, gateway):
    proxy.fail(503, 1_000)
    with (
        orrery.connect(proxy.url, gateway.admin_key, patience_s=0.2) as client,
        pytest.raises(orrery.Unreachable, match="503"),
    ):
        client.me()
    assert len(proxy.requests) > 2


def answering(*answers):
    """A client whose requests get these answers, one after the other; and the requests."""
    left, requests = list(answers), []

    def answer(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        given = left.pop(0)
        if isinstance(given, Exception):
            raise given
        return given

    return orrery.connect("http://nobody", KEY, transport=httpx.MockTransport(answer)), requests


def problem(slug: str, status: int, **headers: str) -> httpx.Response:
    document = {"type": f"/problems/{slug}", "title": slug, "detail": "d", "todo": "t"}
    return httpx.Response(status, json=document, headers=headers)


def test_an_outage_is_waited_for_as_long_as_retry_after_says():
    client, requests = answering(
        problem("unavailable", 503, **{"Retry-After": "1"}), httpx.Response(200, json={"files": []})
    )
    before = time.monotonic()
    assert client.operations.runs.files("r").files == []
    assert time.monotonic() - before >= 1
    assert len(requests) == 2


def test_a_retry_after_beyond_the_patience_is_raised_at_once_with_its_seconds():
    client, requests = answering(problem("rate-limited", 429, **{"Retry-After": "3600"}))
    with pytest.raises(orrery.RateLimited) as refused:
        client.me()
    assert refused.value.retry_after_s == 3600
    assert len(requests) == 1


def test_a_service_that_does_not_serve_is_a_refusal_and_no_outage():
    client, requests = answering(problem("not-serving", 503, **{"Retry-After": "1"}))
    with pytest.raises(orrery.NotServing):
        client.service("a.b").predict([[1.0]])
    assert len(requests) == 1


def test_all_tries_of_a_submit_have_one_key_and_two_submits_have_two():
    client, requests = answering(
        httpx.ReadTimeout("slow"), httpx.ConnectError("gone"), *[problem("conflict", 409)] * 2
    )
    for _ in range(2):
        with pytest.raises(orrery.Conflict):
            client.train("a/b")
    keys = [request.headers["Idempotency-Key"] for request in requests]
    assert keys[0] == keys[1] == keys[2] != keys[3]


def test_an_address_where_nobody_answers_is_given_up_soon(monkeypatch):
    monkeypatch.setattr(connection, "FIRST_PATIENCE_S", 0.05)
    client, requests = answering(*[httpx.ConnectError("refused")] * 100)
    with pytest.raises(orrery.Unreachable, match="nobody answers at http://nobody"):
        client.me()
    assert len(requests) < 20


def test_a_certificate_that_is_not_trusted_is_no_outage():
    client, requests = answering(httpx.ConnectError("[SSL: CERTIFICATE_VERIFY_FAILED]"))
    with pytest.raises(orrery.Unreachable):
        client.me()
    assert len(requests) == 1


def test_what_is_no_answer_of_the_platform_is_said():
    client, _ = answering(httpx.Response(404, text="<html>"), httpx.Response(200, text="<html>"))
    with pytest.raises(orrery.Unreachable, match="not as Orrery does"):
        client.me()
    with pytest.raises(orrery.UnexpectedAnswer):
        client.me()


def test_answers_of_a_newer_platform_are_read_and_those_without_a_field_are_told():
    newer = {"path": "a", "bytes": 1, "base64": "eA==", "colour": "red"}
    client, _ = answering(httpx.Response(200, json=newer), httpx.Response(200, json={"path": "a"}))
    assert client.operations.runs.file("r", "a").bytes == 1
    with pytest.raises(orrery.UnexpectedAnswer, match="bytes"):
        client.operations.runs.file("r", "a")


def test_a_kind_of_problem_that_the_client_does_not_know_is_a_refusal_all_the_same():
    client, _ = answering(problem("out-of-tea", 418))
    with pytest.raises(orrery.Refused) as refused:
        client.me()
    assert refused.value.code == "out-of-tea"


def test_a_log_that_is_out_of_reach_for_too_long_is_given_up(monkeypatch):
    monkeypatch.setattr(connection, "FOLLOW_PATIENCE_S", 0.1)
    client, requests = answering(*[httpx.ConnectError("refused")] * 1_000)
    with pytest.raises(orrery.Unreachable):
        list(client.operations.train.logs("job_1"))
    assert len(requests) > 1


def test_a_log_that_is_not_there_is_refused_at_once():
    client, requests = answering(problem("not-found", 404))
    with pytest.raises(orrery.NotFound):
        list(client.operations.train.logs("job_1"))
    assert len(requests) == 1


def test_nothing_shows_the_key(caplog):
    caplog.set_level(logging.DEBUG)
    client, requests = answering(
        problem("forbidden", 403), httpx.ConnectTimeout("slow"), problem("conflict", 409)
    )
    shown = [repr(client), repr(client._connection), repr(vars(client._connection))]
    for ask in (client.me, lambda: client.train("a/b")):
        with pytest.raises(orrery.OrreryError) as raised:
            ask()
        shown += [repr(raised.value), str(raised.value)]
    assert requests[0].headers["Authorization"] == f"Bearer {KEY}"
    assert not any(KEY in text for text in [*shown, caplog.text])


@pytest.mark.parametrize("key", ["", "two\nlines", "ключ"])
def test_what_can_be_no_key_is_refused_before_it_is_sent(key, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("ORRERY_API_KEY", "ORRERY_KEY", "ORRERY_STATE"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(orrery.NoKey):
        orrery.connect("http://nobody", key)


@pytest.mark.parametrize("url", ["nobody:3000", "ftp://nobody", "/x"])
def test_an_address_that_is_none_is_refused(url):
    with pytest.raises(ValueError, match="expected http"):
        orrery.connect(url, KEY)


def test_lines_of_a_stream_end_where_the_stream_says_and_nowhere_else():
    sent = 'id: 0.1\nevent: line\ndata: {"a":\ndata:  "x\u2028y\x85z"}\n\n: note\r\n\r\n'.encode()
    parts = [sent[i : i + 3] for i in range(0, len(sent), 3)]
    events = list(server_events.events_in(server_events.lines_in(parts)))
    assert [(e.id, e.name) for e in events] == [("0.1", "line")]
    assert events[0].data == '{"a":\n "x\u2028y\x85z"}'


@pytest.mark.parametrize("text", ["2026-01-02T03:04:05Z", "2026-01-02T03:04:05.12Z"])
def test_times_are_read_with_any_fraction(text):
    assert decoding.moment(text).utcoffset().total_seconds() == 0


def test_a_client_is_used_by_several_threads(client):
    found = []
    threads = [threading.Thread(target=lambda: found.append(client.me().role)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == ["admin"] * 8
