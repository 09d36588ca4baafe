"""Bad input and faults at the gateway: refused with a reason, and nothing lost."""

import json
import socket
import sqlite3
import threading
import time

import httpx
import pytest

from accounts import keys
from tests.api.gateway import running_gateway

PROBLEM = "application/problem+json"
NOBODY = "http://127.0.0.1:9"


@pytest.fixture(scope="module")
def gateway(gateway_folder, flowers_folder):
    """A gateway without Dagster, which nothing that is refused gets as far as."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ORRERY_DAGSTER_URI", NOBODY)
        with running_gateway(gateway_folder, flowers_folder) as opened:
            yield opened


def problem(answer, status, slug):
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == PROBLEM
    assert answer.json()["type"] == f"/problems/{slug}"
    assert "Traceback" not in answer.text
    assert answer.json()["todo"]
    return answer.json()


def test_text_that_is_no_json(gateway):
    headers = {"Content-Type": "application/json"}
    problem(gateway.admin.post("/train/jobs", content=b"{", headers=headers), 422 - 22, "malformed")


@pytest.mark.parametrize("kind", ["text/plain", "application/xml", "multipart/form-data"])
def test_a_body_of_another_kind(gateway, kind):
    answer = gateway.admin.post(
        "/train/jobs", content=b'{"model": "classifier"}', headers={"Content-Type": kind}
    )
    assert answer.status_code in (415, 422)
    assert answer.headers["content-type"] == PROBLEM


def test_bytes_that_are_no_utf_8(gateway):
    headers = {"Content-Type": "application/json"}
    answer = gateway.admin.post("/train/jobs", content=b'{"model": "\xff\xfe"}', headers=headers)
    problem(answer, 400, "malformed")


def test_a_body_nested_too_deeply(gateway):
    body = b'{"declaration": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    headers = {"Content-Type": "application/json"}
    answer = gateway.admin.post("/projects", content=body, headers=headers)
    assert answer.status_code in (400, 422)
    assert answer.headers["content-type"] == PROBLEM


def test_a_body_that_is_too_large(gateway):
    body = {"model": "x" * 2_000_000}
    problem(gateway.admin.post("/train/jobs", json=body), 413, "too-large")


def test_a_body_that_grows_too_large_without_saying_so(gateway):
    def parts():
        for _ in range(40):
            yield b" " * 50_000

    headers = {"Content-Type": "application/json"}
    problem(gateway.admin.post("/train/jobs", content=parts(), headers=headers), 413, "too-large")


def test_an_unknown_path(gateway):
    problem(gateway.admin.get("/nothing/here"), 404, "not-found")


def test_a_method_that_is_not_there(gateway):
    problem(gateway.admin.put("/train/jobs", json={}), 405, "method-not-allowed")


def test_an_unknown_field_is_named(gateway):
    refusal = problem(
        gateway.admin.post("/train/jobs", json={"model": "m", "modle": 1}), 422, "invalid"
    )
    assert [error["field"] for error in refusal["errors"]] == ["modle"]


@pytest.mark.parametrize("cursor", ["x", "e30", "IjEi" * 100, "bnVsbA", "-1", "%00", "WzFd"])
@pytest.mark.parametrize("path", ["/jobs", "/projects", "/audit", "/models", "/experiments"])
def test_a_cursor_that_is_none(gateway, path, cursor):
    answer = gateway.admin.get(path, params={"cursor": cursor})
    assert answer.status_code in (200, 422)
    if answer.status_code == 200:
        assert cursor == "IjEi" * 100 or "items" in answer.json()


PATHS = [
    "../etc/passwd",
    "..%2f..%2fetc%2fpasswd",
    "%2e%2e/%2e%2e",
    "a/../../b",
    "digits%00",
    "\\..\\x",
]


@pytest.mark.parametrize("name", PATHS)
@pytest.mark.parametrize("path", ["/projects/{}", "/train/jobs/{}", "/inference/services/{}"])
def test_a_path_that_climbs_leads_nowhere(gateway, path, name):
    answer = gateway.admin.get(path.format(name))
    assert answer.status_code in (404, 405, 422)
    assert "root:" not in answer.text


@pytest.mark.parametrize(
    "text",
    [
        "a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]",
        "project: !!python/object/apply:os.system ['id']",
        "project: x\nproject: y",
        "- just\n- a list",
        "",
        "project: \x07",
        "{" * 5000,
    ],
)
def test_yaml_that_is_no_declaration(gateway, text):
    problem(gateway.admin.post("/projects", json={"declaration": text}), 422, "invalid")


def declared(gateway, **parts):
    declaration = {"project": "bad", "owner": "team:a", **parts}
    return gateway.admin.post("/projects", json={"declaration": declaration})


@pytest.mark.parametrize(
    "source",
    [
        "files:/etc/passwd",
        "files:../../etc/passwd",
        "files:data/../../../etc/hosts",
        "files:s3://anybody/else.parquet",
        "images:/root",
        "sql:select * from read_csv('/etc/passwd')",
    ],
)
def test_a_request_may_not_have_any_file_read(gateway, source):
    refusal = problem(declared(gateway, datasets={"d": {"source": source}}), 422, "invalid")
    assert refusal["errors"][0]["field"].startswith("datasets.d")


def test_a_request_may_not_watch_any_folder(gateway):
    datasets = {"d": {"source": "sklearn:iris", "watch": "/var/log"}}
    problem(declared(gateway, datasets=datasets), 422, "invalid")


@pytest.mark.parametrize("trainer", ["os:system", "shutil:rmtree", "subprocess:run", "trainingx:f"])
def test_a_request_may_not_have_any_function_called(gateway, trainer):
    problem(declared(gateway, models={"m": {"trainer": trainer}}), 422, "invalid")


@pytest.mark.parametrize("model", ["os:system", "shutil:rmtree"])
def test_a_job_may_not_call_any_function(gateway, model):
    answer = gateway.admin.post("/train/jobs", json={"model": model, "dataset": "sklearn:iris"})
    problem(answer, 422, "invalid")


@pytest.mark.parametrize("suite", ["/etc/passwd", "../../x.yaml", "suites/other.yaml"])
def test_a_request_may_not_have_any_suite_read(gateway, suite):
    parts = {
        "models": {"m": {"trainer": "training.vision:train"}},
        "simulations": {"s": {"model": "m", "suite": suite}},
    }
    problem(declared(gateway, **parts), 422, "invalid")


def test_every_mistake_of_a_declaration_is_named(gateway):
    parts = {"models": {"m": {"trainer": "training.vision:nothing", "dataset": "none"}}}
    refusal = problem(declared(gateway, **parts), 422, "invalid")
    assert refusal["errors"][0]["field"] == "models.m.dataset"


@pytest.mark.parametrize("text", ["'; DROP TABLE jobs; --", "%' OR '1'='1", "\\", "日本 🚀"])
def test_text_of_a_search_is_only_text(gateway, text):
    answer = gateway.admin.get("/audit", params={"actor": text, "object": text})
    assert answer.json()["items"] == []


def test_a_header_is_not_split(gateway):
    headers = {"X-On-Behalf-Of": "a\tb", "If-Match": '"x"'}
    answer = gateway.admin.get("/projects", headers=headers)
    assert answer.status_code == 200


def raw(gateway, text: str) -> bytes:
    host, port = gateway.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(text.encode("latin-1"))
        connection.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: connection.recv(65536), b""))


@pytest.mark.parametrize(
    "request_text",
    [
        "GET / HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer \xff\xfe\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: x\r\nAuthorization: Basic YTpi\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: x\r\nCookie: orrery_session=\x01\x02;;;=\r\n\r\n",
        "BREW / HTTP/1.1\r\nHost: x\r\n\r\n",
        "\x00\x01\x02\r\n\r\n",
    ],
)
def test_bytes_that_are_hardly_a_request(gateway, request_text):
    answer = raw(gateway, request_text)
    assert b" 500 " not in answer.split(b"\r\n")[0]


def test_an_address_that_is_too_long_is_refused_in_the_same_words(gateway):
    answer = raw(gateway, f"GET /projects?cursor={'x' * 70_000} HTTP/1.1\r\nHost: x\r\n\r\n")
    head, _, body = answer.partition(b"\r\n\r\n")
    assert PROBLEM.encode() in head
    assert json.loads(body)["type"] == "/problems/malformed"


def test_an_expired_key(gateway):
    key = gateway.key("viewer", expires_in_days=1e-9)
    refusal = problem(gateway.client(key).get("/me"), 401, "unauthenticated")
    assert "expired" in refusal["detail"]


def test_a_revoked_key_ends_at_once(gateway):
    key = gateway.key("viewer")
    client = gateway.client(key)
    id = client.get("/me").json()["key_id"]
    gateway.admin.delete(f"/keys/{id}").raise_for_status()
    refusal = problem(client.get("/me"), 401, "unauthenticated")
    assert "revoked" in refusal["detail"]


def test_a_key_of_another_installation(gateway, tmp_path):
    from accounts.secret import new_token

    problem(gateway.client(new_token(keys.PREFIX)).get("/me"), 401, "unauthenticated")


def test_an_unauthenticated_answer_says_how_to_come_in(gateway):
    answer = gateway.client(None).get("/projects")
    assert answer.headers["www-authenticate"].startswith("Bearer")


def test_a_browser_is_sent_to_the_sign_in(gateway):
    answer = httpx.get(f"{gateway.url}/dagster/runs?x=1", headers={"Accept": "text/html"})
    assert answer.status_code == 303
    assert answer.headers["location"] == "/sign-in?next=%2Fdagster%2Fruns%3Fx%3D1"


def test_two_changes_that_race_on_one_project_are_told_apart(gateway):
    declaration = {"project": "race", "owner": "team:a"}
    etag = gateway.admin.post("/projects", json={"declaration": declaration}).json()["etag"]
    answers: list[int] = []

    def change(number):
        body = {"declaration": {**declaration, "description": f"number {number}"}}
        answer = gateway.admin.put("/projects/race", json=body, headers={"If-Match": etag})
        answers.append(answer.status_code)

    threads = [threading.Thread(target=change, args=(n,)) for n in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers) == [200, 412, 412, 412, 412]


def test_two_projects_of_one_name_that_race_are_one(gateway):
    answers: list[int] = []

    def create():
        body = {"declaration": {"project": "twice", "owner": "team:a"}}
        answers.append(gateway.admin.post("/projects", json=body).status_code)

    threads = [threading.Thread(target=create) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers) == [201, 409, 409, 409, 409]


@pytest.mark.parametrize("name", ["flowers", "acme--x", "Upper", "a" * 60, "x/y", ""])
def test_a_project_name_that_cannot_be(gateway, name):
    body = {"declaration": {"project": name, "owner": "team:a"}}
    assert gateway.admin.post("/projects", json=body).status_code in (409, 422)


def test_a_project_of_the_checkout_is_not_changed_by_requests(gateway):
    refusal = problem(gateway.admin.delete("/projects/flowers"), 409, "conflict")
    assert "flowers.yaml" in refusal["detail"]


def test_more_gpus_than_there_are(gateway):
    body = {"model": "classifier", "resources": {"gpu": "4000xA100"}}
    refusal = problem(gateway.admin.post("/train/jobs", json=body), 422, "capacity")
    assert "4000 GPUs" in refusal["detail"]


def test_more_memory_than_there_is(gateway):
    body = {"model": "classifier", "resources": {"memory": "900Ti"}}
    problem(gateway.admin.post("/train/jobs", json=body), 422, "capacity")


def test_a_budget_that_is_used_up(gateway):
    client = gateway.with_role("user", budget_gpu_h=0)
    refusal = problem(
        client.post("/train/jobs", json={"model": "classifier"}), 403, "budget-exceeded"
    )
    assert "GPU-hours" in refusal["detail"]


def test_a_locked_database_is_503_with_a_time_to_come_again(tmp_path, monkeypatch):
    monkeypatch.setattr("resources.database.control.BUSY_S", 0.2)
    with running_gateway(tmp_path) as opened:
        path = tmp_path / "state" / "control.db"
        holder = sqlite3.connect(path, isolation_level=None)
        holder.execute("BEGIN IMMEDIATE")
        body = {"name": "x", "role": "viewer", "kind": "service"}
        answer = opened.admin.post("/users", json=body)
        refusal = problem(answer, 503, "unavailable")
        assert int(answer.headers["retry-after"]) >= 1
        assert "locked" in refusal["detail"]
        holder.execute("ROLLBACK")
        holder.close()
        assert opened.admin.post("/users", json=body).status_code == 201


def test_a_mlflow_that_is_away_is_503_and_jobs_are_still_taken(
    tmp_path, flowers_folder, monkeypatch
):
    monkeypatch.setenv("ORRERY_MLFLOW_URI", NOBODY)
    # Taking a job needs no Dagster, which takes seconds to load.
    monkeypatch.setenv("ORRERY_DAGSTER_URI", NOBODY)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with running_gateway(tmp_path, flowers_folder) as opened:
        answer = opened.admin.get("/experiments")
        problem(answer, 503, "unavailable")
        assert int(answer.headers["retry-after"]) >= 1
        taken = opened.admin.post("/train/jobs", json={"model": "classifier"})
        assert taken.status_code == 202
        opened.admin.delete(f"/train/jobs/{taken.json()['job_id']}")


def test_a_dagster_that_is_away_keeps_jobs_queued(tmp_path, flowers_folder, monkeypatch):
    monkeypatch.setenv("ORRERY_DAGSTER_URI", NOBODY)
    with running_gateway(tmp_path, flowers_folder) as opened:
        taken = opened.admin.post("/train/jobs", json={"model": "classifier"}).json()
        path = f"/jobs/{taken['job_id']}"
        end = time.monotonic() + 20
        while "does not answer" not in (result := opened.admin.get(path).json())["message"]:
            assert time.monotonic() < end
        assert result["status"] == "queued"
        answer = opened.admin.post("/dagster/graphql", json={"query": "{ version }"})
        problem(answer, 503, "unavailable")


def test_too_many_requests_are_told_how_long_to_wait(tmp_path):
    with running_gateway(tmp_path, requests_per_minute=20) as opened:
        client = opened.admin
        answers = [client.get("/me") for _ in range(30)]
        refused = [a for a in answers if a.status_code == 429]
        assert len(refused) >= 9
        assert 1 <= int(refused[0].headers["retry-after"]) <= 60
        problem(refused[0], 429, "rate-limited")


def test_guessing_keys_is_slowed_down(tmp_path):
    with running_gateway(tmp_path) as opened:
        client = opened.client("orr_guess")
        answers = [client.get("/me").status_code for _ in range(80)]
        assert answers[0] == 401
        assert answers[-1] == 429


def test_a_request_id_finds_its_problem(gateway):
    answer = gateway.admin.get("/projects/none")
    assert answer.headers["x-request-id"] == answer.json()["instance"]


def test_a_page_of_a_list_never_repeats_or_skips(gateway):
    for number in range(7):
        body = {"name": f"page {number}", "role": "viewer", "kind": "service"}
        gateway.admin.post("/users", json=body).raise_for_status()
    seen, cursor = [], None
    while True:
        params = {"limit": 3, **({"cursor": cursor} if cursor else {})}
        page = gateway.admin.get("/users", params=params).json()
        seen += [user["id"] for user in page["items"]]
        cursor = page["next_cursor"]
        if not cursor:
            break
    assert len(seen) == len(set(seen))
    assert len(seen) >= 7


def test_numbers_that_json_does_not_know_are_refused(gateway):
    headers = {"Content-Type": "application/json"}
    answer = gateway.admin.post(
        "/runs/x/metrics", content=b'{"metrics": [{"name": "a", "value": NaN}]}', headers=headers
    )
    assert answer.status_code in (400, 422)


def test_json_is_what_every_answer_is(gateway):
    for path in ("/projects", "/models", "/jobs"):
        assert json.loads(gateway.admin.get(path).content)
