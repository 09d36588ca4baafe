"""What declared projects become: assets, checks, jobs, sensors, schedules."""

import json
from pathlib import Path

import dagster as dg
import pytest
import yaml

from definitions import defs
from projects.loading import CHECKOUT

EXPECTED = json.loads(Path(__file__).with_name("expected_definitions.json").read_text())
BIRDS = """\
project: birds
owner: birder@example.org
datasets:
  songs: {source: "files:songs.csv", label: species}
models:
  singer: {trainer: "birdsong:train", dataset: songs}
simulations:
  storms:
    model: singer
    suite: simulations/suites/image_corruptions.yaml
    gate: {accuracy: {at_least: 0.5, of: mean}}
services:
  singer-api: {model: singer}
automation: {retrain: {on: [new_data]}}
"""


@pytest.fixture
def shipped(settings):
    return defs()


@pytest.fixture
def with_birds(settings, tmp_path, monkeypatch):
    """The shipped projects and a third one, in a folder of its own."""
    folder = tmp_path / "birds"
    folder.mkdir()
    (folder / "birds.yaml").write_text(BIRDS)
    (folder / "birdsong.py").write_text("def train(config): ...\n")
    monkeypatch.setenv("ORRERY_PROJECTS", f"{CHECKOUT / 'projects'}:{folder}")
    return defs()


def assets_of(definitions):
    """What a person sees of every asset, by key."""
    graph = definitions.resolve_asset_graph()
    return {
        key.to_user_string(): {
            "deps": sorted(parent.to_user_string() for parent in graph.get(key).parent_keys),
            "group": graph.get(key).group_name,
            "kinds": sorted(graph.get(key).kinds),
            "owners": list(graph.get(key).owners),
            "checks": sorted(check.name for check in graph.get(key).check_keys),
        }
        for key in graph.get_all_asset_keys()
    }


def jobs_of(definitions):
    return sorted(
        job.name for job in definitions.resolve_all_job_defs() if not job.name.startswith("__")
    )


def test_shipped_projects_are_loadable(shipped):
    dg.Definitions.validate_loadable(shipped)


def test_assets_of_the_shipped_projects_are_as_expected(shipped):
    assert assets_of(shipped) == EXPECTED["assets"]


def test_jobs_of_the_shipped_projects_are_as_expected(shipped):
    assert jobs_of(shipped) == EXPECTED["jobs"]


@pytest.mark.parametrize("job", EXPECTED["selections"])
def test_job_runs_what_belongs_together(job, shipped):
    layer = shipped.resolve_job_def(job).asset_layer

    selected = sorted(key.to_user_string() for key in layer.selected_asset_keys)

    assert selected == EXPECTED["selections"][job]


def test_sensors_of_the_shipped_projects_are_as_expected(shipped):
    result = {sensor.name: sensor.default_status.value for sensor in shipped.sensors}

    assert result == EXPECTED["sensors"]


def test_schedules_of_the_shipped_projects_are_as_expected(shipped):
    result = {s.name: [s.cron_schedule, s.execution_timezone] for s in shipped.schedules}

    assert result == EXPECTED["schedules"]


def test_every_asset_has_a_description_and_an_owner(shipped):
    graph = shipped.resolve_asset_graph()

    for key in graph.get_all_asset_keys():
        assert len((graph.get(key).description or "").strip()) > 40, key
        assert graph.get(key).owners, key


def test_every_check_job_sensor_and_schedule_has_a_description(shipped):
    graph = shipped.resolve_asset_graph()
    described = [
        *(graph.get_check_spec(key) for key in graph.asset_check_keys),
        *(job for job in shipped.resolve_all_job_defs() if not job.name.startswith("__")),
        *shipped.sensors,
        *shipped.schedules,
    ]

    assert [each.name for each in described if not each.description] == []


@pytest.mark.parametrize("family", ["dataset", "simulation"])
def test_checks_of_the_family_keep_what_follows_from_running(family, shipped):
    graph = shipped.resolve_asset_graph()

    checks = [
        graph.get_check_spec(k) for k in graph.asset_check_keys if k.asset_key.path[1] == family
    ]

    assert checks
    assert [check.name for check in checks if not check.blocking] == []


def test_project_in_another_folder_adds_its_assets(with_birds):
    result = assets_of(with_birds)

    birds = {key: asset for key, asset in result.items() if key.startswith("birds/")}
    assert {key: asset["deps"] for key, asset in birds.items()} == {
        "birds/dataset/songs": [],
        "birds/checkpoint/singer_checkpoint": ["birds/dataset/songs"],
        "birds/model/singer_model": ["birds/checkpoint/singer_checkpoint"],
        "birds/simulation/storms": ["birds/model/singer_model"],
        "birds/champion/singer_champion": ["birds/simulation/storms"],
        "birds/service/singer-api": ["birds/champion/singer_champion"],
    }
    assert {tuple(asset["owners"]) for asset in birds.values()} == {("birder@example.org",)}
    assert result.keys() - birds.keys() == EXPECTED["assets"].keys()


def test_project_in_another_folder_adds_its_jobs_and_sensors(with_birds):
    added = set(jobs_of(with_birds)) - set(EXPECTED["jobs"])

    assert added == {f"{unit}_birds" for unit in ("train", "simulate", "deploy", "turn")}
    (new_data,) = [each for each in with_birds.sensors if each.name == "on_new_data"]
    assert "turn_birds" in {target.job_name for target in new_data.targets}
    assert {sensor.name for sensor in with_birds.sensors} == EXPECTED["sensors"].keys()


def test_project_in_another_folder_is_loadable(with_birds):
    dg.Definitions.validate_loadable(with_birds)


def test_instance_keeps_its_state_in_the_state_folder(settings):
    with dg.DagsterInstance.from_config(str(CHECKOUT)) as instance:
        instance.add_dynamic_partitions("days", ["monday"])
        kept = list((settings.state / "dagster").rglob("*.db"))

    assert kept


def test_instance_monitors_runs_and_sends_nothing_home(settings):
    with dg.DagsterInstance.from_config(str(CHECKOUT)) as instance:
        assert instance.run_monitoring_enabled
        assert instance.run_retries_enabled
        assert instance.telemetry_enabled is False


def test_workspace_names_definitions():
    workspace = yaml.safe_load((CHECKOUT / "workspace.yaml").read_text())

    (location,) = workspace["load_from"]
    assert location["python_module"]["module_name"] == "definitions"
    assert location["python_module"]["location_name"] == "orrery"
