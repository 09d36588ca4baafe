"""Two organizations on one instance, with the same names: neither learns that the other is."""

import pytest

DECLARATION = {
    "project": "shared-name",
    "owner": "team:a",
    "datasets": {"iris": {"source": "sklearn:iris", "label": "target"}},
    "models": {"m": {"trainer": "training.vision:train", "dataset": "iris"}},
    "simulations": {"s": {"model": "m", "suite": "simulations/suites/linf_attack.yaml"}},
}


@pytest.fixture(scope="module")
def acme(gateway):
    client = gateway.organization_admin("acme")
    client.post("/projects", json={"declaration": DECLARATION}).raise_for_status()
    return client


@pytest.fixture(scope="module")
def home(gateway):
    gateway.admin.post("/projects", json={"declaration": DECLARATION}).raise_for_status()
    return gateway.admin


@pytest.fixture(scope="module")
def theirs(home):
    """Things of the first organization, by the path that shows each."""
    job = home.post("/train/jobs", json={"model": "classifier"}).json()["job_id"]
    key = home.post("/keys", json={"name": "theirs"}).json()["id"]
    user = home.get("/users").json()["items"][0]["id"]
    experiment = home.post("/experiments", json={"project": "flowers", "name": "e"}).json()["id"]
    run = home.post(f"/experiments/{experiment}/runs", json={"name": "r"}).json()["id"]
    home.delete(f"/train/jobs/{job}")
    return [
        ("GET", f"/train/jobs/{job}"),
        ("DELETE", f"/train/jobs/{job}"),
        ("GET", f"/jobs/{job}"),
        ("DELETE", f"/jobs/{job}"),
        ("GET", f"/train/jobs/{job}/logs?follow=false"),
        ("GET", f"/train/jobs/{job}/metrics"),
        ("DELETE", f"/keys/{key}"),
        ("PATCH", f"/users/{user}"),
        ("DELETE", f"/users/{user}"),
        ("POST", f"/users/{user}/sign-in-link"),
        ("GET", f"/experiments/{experiment}/runs"),
        ("POST", f"/experiments/{experiment}/runs"),
        ("GET", f"/runs/{run}/metrics"),
        ("POST", f"/runs/{run}/metrics"),
        ("GET", "/projects/flowers"),
        ("DELETE", "/projects/flowers"),
        ("GET", "/models/flowers/classifier"),
        ("GET", "/models/flowers/classifier/versions"),
        ("GET", "/models/flowers/classifier/versions/1/evidence"),
        ("GET", "/datasets/flowers/iris/versions"),
        ("GET", "/inference/services/flowers.classifier-api"),
        ("DELETE", "/inference/services/flowers.classifier-api"),
        ("POST", "/inference/services/flowers.classifier-api/predict"),
        ("GET", "/simulation/environments/flowers.robustness"),
    ]


BODIES = {
    "PATCH /users": {"role": "viewer"},
    "POST /experiments": {"name": "x"},
    "POST /runs": {"metrics": [{"name": "a", "value": 1}]},
    "POST /inference": {"inputs": [[1]]},
}


def test_everything_of_another_organization_is_404(acme, theirs):
    for method, path in theirs:
        body = next((b for k, b in BODIES.items() if f"{method} {path}".startswith(k)), None)
        answer = acme.request(method, path, json=body)
        assert answer.status_code == 404, f"{method} {path}: {answer.text}"


@pytest.mark.parametrize("name", ["home--flowers", "--flowers", "acme--shared-name", "flowers"])
def test_names_as_dagster_knows_them_open_nothing(acme, name):
    assert acme.get(f"/projects/{name}").status_code in (404, 422)


@pytest.mark.parametrize(
    "path",
    [
        "/projects",
        "/datasets",
        "/models",
        "/jobs",
        "/train/jobs",
        "/inference/services",
        "/simulation/environments",
        "/experiments",
        "/keys",
        "/users",
        "/audit",
        "/callbacks",
        "/organizations",
    ],
)
def test_lists_show_nothing_of_another_organization(acme, home, theirs, path):
    assert "flowers" not in acme.get(path).text
    assert '"home"' not in acme.get(path).text


def test_equal_names_are_two_projects(acme, home):
    assert acme.get("/projects/shared-name").status_code == 200
    changed = {**DECLARATION, "description": "of acme"}
    acme.put("/projects/shared-name", json={"declaration": changed}).raise_for_status()
    assert "description" not in home.get("/projects/shared-name").json()["declaration"]


def test_a_name_tells_nothing_of_what_others_have(gateway, acme):
    fresh = {"project": "acme__shared-name", "owner": "team:a"}
    refused = gateway.admin.post("/projects", json={"declaration": fresh})
    unknown = {"project": "acme__nothing", "owner": "team:a"}
    also = gateway.admin.post("/projects", json={"declaration": unknown})
    assert (refused.status_code, also.status_code) == (422, 422)


def test_an_idempotency_key_is_an_organizations_own(acme, home):
    headers = {"Idempotency-Key": "same"}
    hyperparameters = {"epochs": 1, "learning_rate": 1e-3, "batch_size": 64}
    body = {"model": "shared-name/m", "hyperparameters": hyperparameters}
    ours = home.post("/train/jobs", json=body, headers=headers).json()["job_id"]
    other = acme.post("/train/jobs", json=body, headers=headers).json()["job_id"]
    assert ours != other
    home.delete(f"/train/jobs/{ours}")
    acme.delete(f"/train/jobs/{other}")


@pytest.mark.parametrize("path", ["/dagster/graphql", "/dagster", "/mlflow/", "/mlflow/health"])
def test_the_uis_open_only_to_whoever_may_see_all(gateway, acme, path):
    answer = acme.get(path)
    assert answer.status_code == 403
    assert "every organization" in answer.json()["detail"]


def test_an_admin_elsewhere_makes_no_key_for_somebody_else(gateway, acme):
    owner = gateway.platform.owner().user_id
    with gateway.platform.control.write() as connection:
        from accounts import users

        users.join(connection, owner, "acme", "viewer")
    refused = acme.post("/keys", json={"name": "x", "role": "admin", "user_id": owner})
    assert refused.status_code == 403


def test_a_link_made_elsewhere_opens_no_ui(gateway, acme):
    import httpx

    owner = gateway.platform.owner().user_id
    with gateway.platform.control.write() as connection:
        from accounts import users

        users.join(connection, owner, "acme", "admin")
    link = acme.post(f"/users/{owner}/sign-in-link").json()["url"]
    client = httpx.Client(base_url=gateway.url)
    client.get(link)
    assert client.get("/me").json()["organization"] == "acme"
    assert client.get("/dagster/graphql?query={version}").status_code == 403


def test_a_new_organization_is_entered_with_the_key_that_it_starts_with(gateway):
    created = gateway.admin.post("/organizations", json={"id": "fresh", "name": "Fresh"}).json()
    me = gateway.client(created["key"]).get("/me").json()
    assert (me["organization"], me["role"]) == ("fresh", "admin")


def test_organizations_are_made_from_the_first_one_alone(acme):
    refused = acme.post("/organizations", json={"id": "more", "name": "More"})
    assert refused.status_code == 403


def test_how_long_the_audit_is_concerns_the_first_organization_alone(gateway, acme):
    assert acme.get("/audit/verification").json()["entries"] is None
    assert gateway.admin.get("/audit/verification").json()["entries"] > 0


@pytest.fixture(scope="module")
def confined(gateway, home):
    """An admin key that is confined to one project."""
    return gateway.with_role("admin", projects=["shared-name"], agents_may_change=True)


def test_a_confined_key_sees_its_project_alone(confined, theirs):
    names = [p["project"] for p in confined.get("/projects").json()["items"]]
    assert names == ["shared-name"]
    for path in ("/models", "/datasets", "/jobs", "/experiments", "/inference/services"):
        assert "flowers" not in confined.get(path).text
    assert confined.get("/projects/flowers").status_code == 404


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/users", {"name": "x", "role": "admin"}),
        ("GET", "/users", None),
        ("GET", "/audit", None),
        ("POST", "/organizations", {"id": "other", "name": "Other"}),
        ("POST", "/organizations/callback-secret", None),
        ("POST", "/keys", {"name": "x", "role": "admin"}),
        ("POST", "/keys", {"name": "x", "projects": ["flowers"]}),
        ("POST", "/projects", {"declaration": {"project": "free", "owner": "team:a"}}),
        ("GET", "/dagster/graphql?query={version}", None),
    ],
)
def test_a_confined_key_does_not_break_out(confined, method, path, body):
    assert confined.request(method, path, json=body).status_code == 403


def test_a_confined_key_lists_its_own_keys_alone(gateway, confined):
    mine = confined.get("/me").json()["user_id"]
    assert {key["user_id"] for key in confined.get("/keys").json()["items"]} == {mine}


def test_a_key_makes_no_key_that_outlives_or_outspends_it(gateway):
    client = gateway.with_role("user", budget_gpu_h=1.0, expires_in_days=1)
    for limits in ({"budget_gpu_h": 2.0}, {}, {"budget_gpu_h": 1.0, "expires_in_days": 30}):
        body = {"name": "x", "role": "user", "expires_in_days": 0.5, **limits}
        assert client.post("/keys", json=body).status_code == 403
    good = {"name": "x", "role": "user", "expires_in_days": 0.5, "budget_gpu_h": 1.0}
    assert client.post("/keys", json=good).status_code == 201


def test_a_manager_does_not_revoke_the_key_of_an_admin(gateway):
    id = gateway.admin.get("/me").json()["key_id"]
    assert gateway.with_role("manager").delete(f"/keys/{id}").status_code == 403


def test_a_manager_makes_no_admin(gateway):
    manager = gateway.with_role("manager")
    assert manager.post("/users", json={"name": "x", "role": "admin"}).status_code == 403


def test_rights_taken_away_end_at_once(gateway):
    key = gateway.key("user")
    client = gateway.client(key)
    user = client.get("/me").json()["user_id"]
    gateway.admin.patch(f"/users/{user}", json={"role": "viewer"}).raise_for_status()
    assert client.post("/train/jobs", json={"model": "classifier"}).status_code == 403
    gateway.admin.delete(f"/users/{user}").raise_for_status()
    assert client.get("/me").status_code == 401
