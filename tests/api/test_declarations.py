"""Declarations change while the platform runs: what is new works, what breaks stops nobody else."""

from contextlib import suppress
from pathlib import Path

import psutil

from engine import lease
from tests.api.jobs.test_jobs import ended
from tests.waiting import until

NEW = """project: {name}
owner: team:botany
datasets:
  iris: {{source: "sklearn:iris", label: target, split: {{test: 0.4, seed: 1}}}}
models:
  classifier: {{dataset: iris, trainer: "flowers_training:train", hyperparameters: {{epochs: 2}}}}
"""
WATCHED = """project: watched
owner: team:botany
datasets:
  rows: {{source: "files:{folder}", label: target}}
models:
  classifier: {{dataset: rows, trainer: "flowers_training:train", hyperparameters: {{epochs: 2}}}}
automation: {{retrain: {{on: [new_data]}}}}
"""


def projects_of(up) -> Path:
    return Path(up.env["ORRERY_PROJECTS"])


def submit(up, model: str) -> str:
    answer = up.api.post("/train/jobs", json={"model": model})
    assert answer.status_code == 202, answer.text
    return answer.json()["job_id"]


def summary(up, project: str) -> dict:
    result = {p["project"]: p for p in up.api.get("/projects").json()["items"]}
    return result.get(project, {})


def test_a_project_file_that_is_added_works_by_itself(up):
    (projects_of(up) / "herbs.yaml").write_text(NEW.format(name="herbs"))
    job = ended(up, submit(up, "herbs/classifier"))
    assert job["status"] == "succeeded", job
    assert job["message"] == ""


def test_a_broken_file_stops_nobody_else_and_is_named(up):
    broken = projects_of(up) / "herbs.yaml"
    good = broken.read_text()
    broken.write_text(good.replace("owner:", "ownr:"))
    until(lambda: summary(up, "herbs").get("state") == "broken")
    (problem,) = [p for p in summary(up, "herbs")["problems"] if "ownr" in p]
    assert "herbs.yaml:2" in problem
    assert "did you mean 'owner'?" in problem
    assert summary(up, "meadow")["state"] == "usable"
    assert up.api.get("/models").status_code == 200
    jobs = [submit(up, "meadow/classifier"), submit(up, "herbs/classifier")]
    assert [ended(up, job)["status"] for job in jobs] == ["succeeded", "succeeded"]
    listed = up.orrery("projects", "list")
    (line,) = [line for line in listed.stdout.splitlines() if "herbs" in line]
    assert "broken" in line, listed.stderr
    broken.write_text(good)
    until(lambda: summary(up, "herbs").get("state") == "usable")


def test_a_broken_file_that_was_never_good_is_named_by_its_file(up):
    file = projects_of(up) / "weeds.yaml"
    file.write_text("project: [\n")
    until(lambda: summary(up, "weeds").get("state") == "broken")
    assert "not YAML" in summary(up, "weeds")["problems"][0]
    file.unlink()
    until(lambda: not summary(up, "weeds"))


def test_a_second_file_of_one_name_does_not_take_the_project_over(up):
    file = projects_of(up) / "a-copy.yaml"
    file.write_text(NEW.format(name="meadow"))
    until(lambda: summary(up, "meadow").get("state") == "usable" and summary(up, "a-copy"))
    assert summary(up, "meadow")["services"] == ["classifier-api"]
    file.unlink()


def test_one_code_server_holds_the_definitions_for_the_daemon_and_the_webserver(up):
    platform = psutil.Process(lease.holder(up.state / "up"))

    def code_servers() -> list[str]:
        found = []
        for child in platform.children(recursive=True):
            # A process may end while it is looked at.
            with suppress(psutil.NoSuchProcess):
                command = " ".join(child.cmdline())
                found += [command] if "dagster api grpc" in command else []
        return found

    # One that is replaced goes on until its calls have ended.
    until(lambda: len(code_servers()) == 1)


def test_the_daemon_looks_at_what_a_new_project_watches(up, tmp_path):
    folder = tmp_path / "rows"
    folder.mkdir()
    rows = "a,b,c,d,target\n" + "".join(f"{i},{i},{i},{i},{i % 3}\n" for i in range(60))
    (folder / "first.csv").write_text(rows)
    (projects_of(up) / "watched.yaml").write_text(WATCHED.format(folder=folder))
    query = """query ($s: SensorSelector!) { sensorOrError(sensorSelector: $s) {
        ... on Sensor { targets { pipelineName } sensorState { ticks(limit: 1) {
        status skipReason timestamp } } } } }"""
    selector = {
        "repositoryLocationName": "orrery",
        "repositoryName": "__repository__",
        "sensorName": "on_new_data",
    }

    def has_looked() -> bool:
        sensor = up.graphql(query, s=selector)["sensorOrError"]
        targets = {target["pipelineName"] for target in sensor.get("targets") or ()}
        ticks = sensor.get("sensorState", {}).get("ticks")
        return "turn_watched" in targets and bool(ticks) and "1 of 1" in str(ticks[0]["skipReason"])

    until(has_looked)
