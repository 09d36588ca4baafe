"""An embedded state folder arrives whole in PostgreSQL and a bucket, once, or is refused."""

import json
import re
import shutil
import time
from pathlib import Path
from typing import NamedTuple

import dagster as dg
import pytest
from dagster import DagsterInstance
from mlflow.store.db.utils import _safe_initialize_tables
from sqlalchemy import create_engine, func, insert, make_url, select, text
from typer.testing import CliRunner

from accounts import audit
from accounts.tables import keys, organizations, users
from api.cli.main import app
from assets.keys import asset_key
from definitions import adapters, definitions_of
from deploy.migration.addresses import Addresses
from deploy.migration.move import Move, at_rest
from deploy.migration.verification import CannotMove
from engine import lease
from projects.loading import load_project
from resources.adapters import object_store, request_logs
from resources.api_projects import ApiProjects
from resources.database.control import Control
from resources.datasets.store import DatasetStore
from resources.orchestration.events import DagsterEvents
from resources.orchestration.postgresql_storage import open_storage
from resources.settings import CHECKOUT, Settings
from resources.storage.request_logs import RequestLogs
from resources.tracking.adapter import TrackedDataset, Tracking
from scheduler import jobs
from scheduler.tables import jobs as jobs_table
from tests import buckets
from tests.control import new_database

IRIS = asset_key("flowers", "dataset", "iris")
PLACE = r"\S+/(?=datasets/)"
TARGETS = ("ORRERY_DAGSTER_STORAGE", "ORRERY_MLFLOW_URI", "ORRERY_CONTROL")


@dg.asset(deps=[IRIS], check_specs=[dg.AssetCheckSpec("is_small", asset="summary")])
def summary():
    print("counted")  # noqa: T201
    return dg.MaterializeResult(check_results=[dg.AssetCheckResult(passed=True)])


@pytest.fixture(scope="module")
def embedded(tmp_path_factory):
    """A state folder that a project, MLflow and people have used; it has been moved since."""
    folder = tmp_path_factory.mktemp("embedded")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ORRERY_STATE", str(folder / "gärten"))
        patch.setenv("DAGSTER_HOME", str(CHECKOUT))
        for name in (*TARGETS, "ORRERY_OBJECTS", "ORRERY_PROJECTS"):
            patch.delenv(name, raising=False)
        settings = Settings()
        version = _materialise(settings)
        _track(settings, version)
        _employ(settings)
    # Nothing of the place where it was made may still be needed.
    return (folder / "gärten").rename(folder / "state")


def _materialise(settings):
    flowers = Path(__file__).parent.parent / "data" / "flowers" / "flowers.yaml"
    assets = [*(definitions_of(load_project(flowers)).assets or []), summary]
    with DagsterInstance.from_config(str(CHECKOUT)) as instance:
        for _ in range(2):
            result = dg.materialize(
                assets,
                instance=instance,
                resources=adapters(settings),
                selection=dg.AssetSelection.assets(IRIS, summary.key),
            )
            assert result.success
        instance.report_runless_asset_event(dg.AssetMaterialization("outside"))
        version = instance.get_latest_materialization_event(IRIS).asset_materialization.metadata
        instance.daemon_cursor_storage.set_cursor_values(
            {"EVENT_LOG_CONSUMER_CURSOR-PIPELINE_SUCCESS": str(_last_success(instance))}
        )
    return version["version"].value


def _last_success(instance):
    result = instance.fetch_run_status_changes(dg.DagsterEventType.RUN_SUCCESS, limit=1)
    return result.records[0].storage_id


def _track(settings, version):
    tracking = Tracking(settings.tracking_uri, settings.mlflow_artifacts, settings.mlflow_url)
    dataset = DatasetStore(object_store(settings)).read("flowers", "iris", version)
    run = tracking.run_for(
        "flowers",
        "first",
        "job-1",
        {"dagster.run_id": "x"},
        {"epochs": 5},
        TrackedDataset("iris", version, dataset.uri),
    )
    file = settings.state / "model.onnx"
    file.write_bytes(b"weights")
    tracking.log_metrics(run.run_id, {"accuracy": 0.1 + 0.2, "loss": float("nan")})
    tracking.log_files(run.run_id, [file], "model")
    tracking.end(run.run_id, well=True)
    client = tracking._client
    source = f"{client.get_run(run.run_id).info.artifact_uri}/model"
    client.create_registered_model("flowers.classifier")
    client.create_model_version("flowers.classifier", source, run.run_id)
    tracking.point("flowers.classifier", "champion", 1)


def _employ(settings):
    control = Control(settings.control_url)
    now = time.time()
    with control.write() as c:
        c.execute(insert(organizations).values(id="o", name="home", created_at=now))
        c.execute(insert(users).values(id="u", kind="person", name="Zoë", created_at=now))
        for name, may in ((["flowers"], True), (None, False)):
            c.execute(
                insert(keys).values(
                    id=f"k{may}",
                    organization_id="o",
                    user_id="u",
                    name="key",
                    digest=str(may),
                    role="owner",
                    projects=name,
                    agents_may_change=may,
                    created_at=now,
                )
            )
        for number in range(5):
            place = f"{settings.object_root}/datasets"
            audit.record(c, organization="o", actor="u", action="x", object=place, after=number)
        row = dict.fromkeys((c.name for c in jobs_table.columns if c.nullable), None)
        row |= dict(organization_id="o", project="flowers", kind="train", name="classifier")
        row |= dict(status="succeeded", message="", created_by="u", gpus=0, created_at=now)
        row |= dict(attempts=1, due_at=now, id=jobs.new_id("job"))
        spec = {"rate": 1e-3, "from": f"{settings.object_root}/x", "none": None}
        c.execute(insert(jobs_table).values(**row, spec=spec))
    control.close()
    log = settings.state / "requests" / "flowers.api" / "s0.jsonl"
    log.parent.mkdir(parents=True)
    log.write_text("{}\n")
    (settings.state / "projects" / "suites").mkdir(parents=True)
    (settings.state / "projects" / "suites" / "made.nudge.yaml").write_text("kind: attack\n")
    (settings.state / "projects" / "made.yaml").write_text("project: made\n")
    (settings.state / "instance.secret").write_bytes(b"secret" * 5)
    draft = settings.state / "objects" / ".cut.draft"
    draft.mkdir()
    (draft / "half").write_text("half")


class Place(NamedTuple):
    """Where a state folder goes: a database for each target, a bucket, and what stays a file."""

    databases: dict[str, str]
    """URL by name of the setting."""
    objects: dict[str, bytes]
    """Content by key."""
    state: Path | None


@pytest.fixture(scope="module")
def nothing(postgresql, control_template):
    """Targets with their tables, which take seconds to make, and nothing in them."""
    urls = {name: new_database(postgresql) for name in TARGETS[:2]}
    open_storage(urls["ORRERY_DAGSTER_STORAGE"], None)
    engine = create_engine(urls["ORRERY_MLFLOW_URI"])
    _safe_initialize_tables(engine)
    engine.dispose()
    disconnect(urls["ORRERY_DAGSTER_STORAGE"])
    urls["ORRERY_CONTROL"] = postgresql.replace("DATABASE", control_template)
    return Place(urls, {}, None)


@pytest.fixture(scope="module")
def everything(embedded, nothing, postgresql, tmp_path_factory):
    """What a move leaves there."""
    folder = tmp_path_factory.mktemp("moved")
    with pytest.MonkeyPatch.context() as patch:
        urls = point_to_copy(nothing, postgresql, patch, folder)
        move(shutil.copytree(embedded, folder / "state"))
        objects = {key: buckets.get(key) for key, _ in buckets.written()}
    for url in urls.values():
        disconnect(url)
    return Place(urls, objects, folder / "new")


def disconnect(url):
    """End what is connected to a database: it could not be copied."""
    engine = create_engine(make_url(url).set(database="postgres"))
    with engine.connect() as connection:
        end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = :name"
        connection.execute(text(end), {"name": make_url(url).database})
    engine.dispose()


def point_to_copy(place, postgresql, monkeypatch, folder):
    """URLs of the place's copy, to which the settings point then."""
    root = buckets.make_bucket(monkeypatch)
    for key, content in place.objects.items():
        buckets.put(key, content)
    if place.state:
        shutil.copytree(place.state, folder / "new")
    names = {name: make_url(url).database for name, url in place.databases.items()}
    urls = {name: new_database(postgresql, template) for name, template in names.items()}
    for name, url in urls.items():
        monkeypatch.setenv(name, url)
    monkeypatch.setenv("ORRERY_STATE", str(folder / "new"))
    monkeypatch.setenv("DAGSTER_HOME", str(CHECKOUT))
    monkeypatch.setenv("ORRERY_OBJECTS", f"{root}/instance")
    return urls


@pytest.fixture
def place(embedded, nothing, postgresql, monkeypatch, tmp_path):
    """A copy of the state folder; the settings point to where nothing is yet."""
    point_to_copy(nothing, postgresql, monkeypatch, tmp_path)
    return shutil.copytree(embedded, tmp_path / "state")


@pytest.fixture
def moved(embedded, everything, postgresql, monkeypatch, tmp_path):
    """A copy of the state folder; the settings point to where it was moved."""
    point_to_copy(everything, postgresql, monkeypatch, tmp_path)
    return shutil.copytree(embedded, tmp_path / "state")


def quiet(what, done):
    pass


def move(folder, on_progress=quiet):
    created = Move(folder, Settings(), on_progress)
    try:
        created.run()
        return list(created.compare())
    finally:
        created.close()


def rows(setting, table):
    engine = create_engine(getattr(Settings(), setting))
    with engine.connect() as connection:
        result = connection.execute(text(f"SELECT * FROM {table}")).mappings().all()
    engine.dispose()
    return result


def execute(url, statement):
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text(statement))
    engine.dispose()


def command(*arguments):
    return CliRunner().invoke(app, ["migrate", *map(str, arguments)])


def history(instance):
    """What a person sees of the history: every run's log, every asset's materialisations."""
    logs = {
        run.run_id: [
            (r.event_log_entry.timestamp, re.sub(PLACE, "/", r.event_log_entry.message))
            for r in instance.get_records_for_run(run.run_id).records
        ]
        for run in instance.get_runs()
    }
    versions = [
        (r.run_id, r.timestamp) for r in instance.fetch_materializations(IRIS, limit=10).records
    ]
    return logs, versions


def test_everything_arrives_and_is_the_same_on_both_sides(place, postgresql, monkeypatch):
    for name in TARGETS:
        monkeypatch.setenv(name, new_database(postgresql))
    compared = move(place)

    assert all(each.is_same for each in compared), [str(e) for e in compared if not e.is_same]
    counts = {each.place: each.new_count for each in compared}
    assert counts["control: audit"] == 5
    assert counts["MLflow: model_versions"] == 1
    assert counts["Dagster: runs"] == 2
    assert counts["objects: requests/"] == 1
    assert counts["objects: projects/"] == 2
    assert counts["file instance.secret"] == 1


def test_dagster_answers_as_before(moved, monkeypatch):
    with monkeypatch.context() as before:
        before.delenv("ORRERY_DAGSTER_STORAGE")
        before.setenv("ORRERY_STATE", str(moved))
        with DagsterInstance.from_config(str(CHECKOUT)) as instance:
            old = history(instance)
            status_changes = len(
                instance.fetch_run_status_changes(dg.DagsterEventType.RUN_SUCCESS, limit=9).records
            )

    with DagsterInstance.from_config(str(CHECKOUT)) as instance:
        assert history(instance) == old
        (cursor,) = instance.daemon_cursor_storage.get_cursor_values(
            {"EVENT_LOG_CONSUMER_CURSOR-PIPELINE_SUCCESS"}
        ).values()
        assert int(cursor) == _last_success(instance)
        assert (
            len(instance.fetch_run_status_changes(dg.DagsterEventType.RUN_SUCCESS, limit=9).records)
            == status_changes
        )
        created = instance.fetch_materializations(IRIS, limit=1).records[0]
        event = instance.get_latest_materialization_event(summary.key)
        tags = event.asset_materialization.tags
        assert tags[f"dagster/input_event_pointer/{IRIS.to_user_string()}"] == str(
            created.storage_id
        )
        assert instance.get_latest_materialization_event(dg.AssetKey("outside"))
        record = instance.event_log_storage.get_asset_records([IRIS])[0]
        assert record.asset_entry.last_materialization_record.storage_id == created.storage_id


def test_a_moved_instance_goes_on_where_it_stopped(moved):
    with DagsterInstance.from_config(str(CHECKOUT)) as instance:
        newest = max(r["id"] for r in rows("dagster_storage", "event_logs"))
        assert dg.materialize([summary], instance=instance).success
        assert len(instance.get_runs()) == 3
        record = instance.fetch_materializations(summary.key, limit=1).records[0]
        assert record.storage_id > newest
        evaluated = instance.event_log_storage.get_asset_check_execution_history(
            dg.AssetCheckKey(summary.key, "is_small"), limit=5
        )
        assert len(evaluated) == 3


def test_a_dataset_version_is_read_through_the_bucket(moved):
    from engine.rows import read_rows

    newest = DagsterEvents().newest(list(IRIS.path))
    store = DatasetStore(object_store(Settings()))
    version = store.read("flowers", "iris", newest.metadata["version"])
    assert newest.metadata["uri"] == version.uri
    assert version.uri.startswith(Settings().objects)
    assert read_rows(version.train, version.features).num_rows > 50


def test_mlflow_finds_the_run_the_version_and_its_files(moved, tmp_path):
    settings = Settings()
    tracking = Tracking(settings.tracking_uri, settings.mlflow_artifacts, settings.mlflow_url)
    version = tracking.aliased("flowers.classifier", "champion")
    client = tracking._client
    run = client.get_run(version.run_id)
    assert run.data.metrics["accuracy"] == 0.1 + 0.2
    assert run.data.metrics["loss"] != run.data.metrics["loss"]
    (dataset,) = run.inputs.dataset_inputs
    assert json.loads(dataset.dataset.source)["uri"].startswith(settings.objects)
    file = client.download_artifacts(version.run_id, "model/model.onnx", str(tmp_path))
    assert Path(file).read_bytes() == b"weights"
    source = client.get_model_version("flowers.classifier", "1").source
    assert source.startswith(f"{settings.objects}/mlflow/")
    assert "gärten" not in str(rows("mlflow_uri", "experiments"))


def test_accounts_jobs_and_the_chain_of_the_audit_are_those_before(moved):
    control = Control(Settings().control)
    with control.read() as connection:
        assert audit.verify(connection).entries == 5
        may = dict(connection.execute(select(keys.c.agents_may_change, keys.c.projects)).all())
        assert may == {True: ["flowers"], False: None}
        missing = select(func.count()).select_from(keys).where(keys.c.projects.is_(None))
        assert connection.execute(missing).scalar_one() == 1
        spec = connection.execute(select(jobs_table.c.spec)).scalar_one()
    control.close()
    assert spec == {"rate": 1e-3, "from": f"{Settings().objects}/x", "none": None}


def test_projects_of_the_api_are_declared_as_before(moved):
    projects = ApiProjects(Settings())
    projects.pull()
    assert (projects.folder / "made.yaml").read_text() == "project: made\n"
    assert (projects.folder / "suites" / "made.nudge.yaml").exists()


def logged_requests():
    """What each file of request logs says that a reader is given."""
    settings = Settings()
    files = RequestLogs(request_logs(settings), object_store(settings)).files("flowers.api")
    return [file.read_text() for file in files]


def test_each_logged_request_is_read_once(moved):
    assert all(each.is_same for each in move(moved))

    assert logged_requests() == ["{}\n"]


def test_each_logged_request_is_read_once_where_the_state_folder_stays_in_use(place, monkeypatch):
    monkeypatch.setenv("ORRERY_STATE", str(place))
    move(place)
    assert all(each.is_same for each in move(place))

    assert logged_requests() == ["{}\n"]


def test_output_of_steps_is_read_from_the_bucket(moved):
    with DagsterInstance.from_config(str(CHECKOUT)) as instance:
        run = instance.get_runs()[0].run_id
        captured = instance.get_records_for_run(
            run, of_type=dg.DagsterEventType.LOGS_CAPTURED
        ).records[0]
        file = captured.event_log_entry.dagster_event.logs_captured_data.file_key
        key = instance.compute_log_manager.build_log_key_for_run(run, file)
        data = instance.compute_log_manager.get_log_data(key)
    assert b"counted" in (data.stdout or b"")


@pytest.mark.parametrize("at", ["objects: copying", "Dagster: event_logs", "MLflow: runs"])
def test_an_interrupted_move_is_finished_by_the_next(place, at):
    def cut(what, done):
        if what == at:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        move(place, cut)
    assert rows("mlflow_uri", "runs") == []

    assert all(each.is_same for each in move(place))
    names = [key for key, _ in buckets.written()]
    assert len(names) == len(set(names))


def test_a_repeated_move_writes_nothing(moved):
    before = buckets.written()

    assert all(each.is_same for each in move(moved))

    assert buckets.written() == before


def test_a_database_that_holds_something_else_is_refused(place):
    control = Control(Settings().control)
    with control.write() as c:
        c.execute(insert(organizations).values(id="z", name="else", created_at=0.0))
    control.close()

    with pytest.raises(CannotMove, match="ORRERY_CONTROL is not empty"):
        move(place)

    assert buckets.written() == []
    assert rows("mlflow_uri", "experiments") == []


def test_a_bucket_that_holds_something_else_is_refused(place):
    buckets.put("instance/other", b"else")

    with pytest.raises(CannotMove, match=r"instance is not empty.*other"):
        move(place)


def test_a_row_that_postgresql_refuses_leaves_nothing_half_written(place):
    execute(f"sqlite:///{place}/control.db", "UPDATE users SET name = 'a' || char(0) || 'b'")

    with pytest.raises(CannotMove, match=r"ORRERY_CONTROL refused.*nothing of it was written"):
        move(place)

    assert rows("control", "organizations") == []


def test_a_state_folder_of_another_version_is_refused(place):
    execute(f"sqlite:///{place}/mlflow.db", "UPDATE alembic_version SET version_num = 'old'")

    with pytest.raises(CannotMove, match=r"MLflow: got version old.*start `orrery up` once"):
        move(place)

    assert buckets.written() == []


def test_a_damaged_file_is_named(place):
    (place / "control.db").write_bytes(b"no database" * 500)

    with pytest.raises(CannotMove, match=r"control\.db cannot be read: file is not a database"):
        move(place)


def test_a_target_that_the_settings_lack_is_named(place, monkeypatch):
    monkeypatch.delenv("ORRERY_MLFLOW_URI")
    monkeypatch.setenv("ORRERY_OBJECTS", "folder")

    with pytest.raises(CannotMove, match=r"MLFLOW_URI is not set.*OBJECTS is folder"):
        move(place)


def test_a_folder_in_use_is_refused(place):
    (place / "up").mkdir()
    lease.hold(place / "up")

    with pytest.raises(CannotMove, match="`orrery down`"), at_rest(place):
        pass
    said = command("--from", place)
    assert isinstance(said.exception, CannotMove)


def test_check_names_the_table_with_a_changed_byte(place):
    assert command("--from", place).exit_code == 0
    assert command("--from", place, "--check").exit_code == 0
    execute(Settings().control, "UPDATE users SET name = 'Zoe'")

    said = command("--from", place, "--check")

    assert said.exit_code == 1
    assert "control: users differs" in said.output


def test_check_names_the_object_with_a_changed_byte(moved):
    key = next(k for k, _ in buckets.written() if k.endswith("model.onnx"))
    buckets.put(key, b"weightz")

    said = command("--from", moved, "--check")

    assert said.exit_code == 1
    assert key.removeprefix("instance/") in said.output


def test_only_addresses_of_the_folder_are_replaced():
    addresses = Addresses([Path("/a/gärten")], "s3://b/p")

    for old, new in {
        "/a/gärten/objects": "s3://b/p",
        "/a/gärten/objects/x.parquet": "s3://b/p/x.parquet",
        "file:///a/g%C3%A4rten/mlflow/1": "s3://b/p/mlflow/1",
        json.dumps({"uri": "/a/gärten/objects/x"}): '{"uri": "s3://b/p/x"}',
        json.dumps(json.dumps("/a/gärten/objects/x")): json.dumps('"s3://b/p/x"'),
        "rows in /a/gärten/objects.": "rows in s3://b/p.",
    }.items():
        assert addresses.rewritten(old) == new
    for other in ("/a/gärten/objects-2/x", "/z/a/gärten/objects/x", "/a/gärten/work/x"):
        assert addresses.rewritten(other) == other
