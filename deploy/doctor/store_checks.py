"""Checks of what keeps state: the object store, the databases, MLflow."""

import time
import uuid
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

import httpx
from sqlalchemy import Connection, create_engine, inspect
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from deploy.doctor.finding import Finding, fine, missing, place, redacted, warning
from deploy.doctor.silence import is_silence, silent, silent_at
from deploy.doctor.vantage import is_out_of_reach, is_within, not_set, out_of_reach
from engine.bucket import Bucket
from resources.settings import Settings

DRIVER = "postgresql+psycopg"
OLDEST = 14
PORT = 5432
CONNECT_S = 5
ANSWER_S = 10.0
# Far below the quarter of an hour at which stores refuse a signature.
MOST_SKEW_S = 60
CREDENTIALS = "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_ENDPOINT_URL and the bucket's policy"


def check_stores(settings: Settings, namespace: str) -> Iterator[Finding]:
    """The object store and every database, of a namespace or, without one, of this machine; files
    and SQLite only serve one machine."""
    yield from _check_objects(settings, namespace)
    named = {
        "ORRERY_DAGSTER_STORAGE": (settings.dagster_storage, "job_ticks"),
        "ORRERY_CONTROL": (settings.control, "orrery_version"),
        "ORRERY_MLFLOW_URI": (settings.mlflow_uri, "experiments"),
    }
    for variable, (url, table) in named.items():
        if url.startswith(("http://", "https://")) and variable == "ORRERY_MLFLOW_URI":
            yield _check_server(variable, url, namespace)
        elif url and not url.startswith("sqlite"):
            yield _check_database(variable, url, table, namespace)
        elif not namespace:
            yield fine(variable, "SQLite in a file of this machine")
        elif not url and not is_within():
            yield not_set(variable, "it is not set", namespace)
        else:
            yield missing(
                variable,
                "it names no database; what is kept in SQLite goes with the pod",
                f"set {variable}={DRIVER}://USER:PASSWORD@HOST:5432/NAME in the Secret of run pods",
            )


def _check_objects(settings: Settings, namespace: str) -> Iterator[Finding]:
    root = settings.object_root
    if root.startswith("s3://"):
        yield from _check_bucket(root, namespace)
    elif not namespace:
        yield fine("object store", f"files in {root}")
    elif not settings.objects and not is_within():
        yield not_set("object store", "ORRERY_OBJECTS is not set", namespace)
    else:
        yield missing(
            "object store",
            f"got {root}, expected a bucket; a folder goes with the pod, and jobs do not see it",
            "set ORRERY_OBJECTS=s3://BUCKET/PREFIX",
        )


def _check_bucket(root: str, namespace: str) -> Iterator[Finding]:
    from botocore.exceptions import BotoCoreError

    try:
        if namespace and is_out_of_reach(host := urlsplit(_endpoint()).hostname):
            yield out_of_reach("object store", host, namespace)
            return
        # First, for a clock that is far off is refused under another name.
        yield _check_clock(root)
        yield _check_objects_of(root, namespace)
    except (BotoCoreError, ValueError) as error:
        yield missing("object store", f"{root}: {redacted(error)}", f"check {CREDENTIALS}")


def _check_objects_of(root: str, namespace: str) -> Finding:
    """Whether an object can be written, read and removed."""
    from botocore.exceptions import NoCredentialsError

    bucket, key, content = Bucket(root), f"doctor/{uuid.uuid4().hex}", uuid.uuid4().bytes
    try:
        bucket.put(key, content)
        got = bucket.get(key)
        bucket.delete([key])
    except OSError as error:
        if isinstance(error.__cause__, NoCredentialsError) and namespace and not is_within():
            return not_set("object store", "no credentials of the bucket are set", namespace)
        if is_silence(error):
            return silent_at("object store", _endpoint())
        return missing("object store", redacted(error), f"check {CREDENTIALS}")
    if got != content:
        return missing(
            "object store",
            f"{root}/{key} gave other bytes than were written",
            "use a store that reads what was written",
        )
    return fine("object store", f"{root} is written, read and deleted from")


def _check_clock(root: str) -> Finding:
    """How far this machine's clock is from the store's; requests are signed with it."""
    endpoint = _endpoint()
    try:
        header = httpx.get(endpoint, timeout=ANSWER_S, follow_redirects=False).headers.get(
            "date", ""
        )
    except httpx.HTTPError as error:
        if is_silence(error):
            return silent_at("clock", endpoint)
        return missing(
            "clock",
            f"the server of {root} does not answer at {place(endpoint)}: {redacted(error)}",
            "check AWS_ENDPOINT_URL and the network",
        )
    try:
        skew_s = _now() - parsedate_to_datetime(header).timestamp()
    except ValueError:
        return warning("clock", f"{place(endpoint)} tells no time", "synchronise clocks by NTP")
    if abs(skew_s) > MOST_SKEW_S:
        return warning(
            "clock",
            f"this machine's clock is {skew_s:+.0f} s from that of {place(endpoint)}, "
            f"expected less than {MOST_SKEW_S} s",
            "synchronise it by NTP; stores refuse what is signed a quarter of an hour off",
        )
    return fine("clock", f"{skew_s:+.0f} s from that of {place(endpoint)}")


def _endpoint() -> str:
    import boto3

    return boto3.client("s3").meta.endpoint_url


def _now() -> float:
    return time.time()


def _check_database(variable: str, url: str, table: str, namespace: str) -> Finding:
    try:
        named = make_url(url)
    except (SQLAlchemyError, ValueError):
        todo = f"write {DRIVER}://USER:PASSWORD@HOST:5432/NAME; escape the password's letters"
        return missing(variable, "it is no address of a database", todo)
    if named.drivername != DRIVER:
        return missing(
            variable,
            f"got the driver {named.drivername}, expected {DRIVER}",
            f"begin it with {DRIVER}://",
        )
    if namespace and all(map(is_out_of_reach, hosts := _hosts(named))):
        return out_of_reach(variable, ", ".join(hosts), namespace)
    try:
        engine = create_engine(
            named, poolclass=NullPool, connect_args={"connect_timeout": CONNECT_S}
        )
        with engine.connect() as connection:
            return _judged(variable, connection, table)
    except DBAPIError as error:
        if is_silence(error):
            return silent(variable, named.host, named.port or PORT)
        return missing(
            variable,
            f"{_shown(named)} does not let in: {redacted(error.orig, [url])}",
            "check host, port, user, password, the database's name, the network, sslmode and its "
            "authority (docs/kubernetes.md, Private authorities)",
        )


def _hosts(url: URL) -> list[str]:
    """Every server that an address names: one, or several as `host=` of its query."""
    asked_for = url.query.get("host", ())
    several = [asked_for] if isinstance(asked_for, str) else [*asked_for]
    # One `host=` may list several, each with its port.
    named = [each.partition(":")[0] for hosts in several for each in hosts.split(",")]
    return [url.host] if url.host else named or ["localhost"]


def _judged(variable: str, connection: Connection, table: str) -> Finding:
    number = int(str(connection.exec_driver_sql("SHOW server_version_num").scalar()))
    message = f"PostgreSQL {number // 10_000} at {_shown(connection.engine.url)}"
    if number < OLDEST * 10_000:
        return missing(
            variable, f"{message}, expected {OLDEST} or newer", "upgrade the server, or use another"
        )
    if not inspect(connection).has_table(table):
        return fine(variable, f"{message}; the first start makes its tables")
    return fine(variable, message)


def _shown(url: Any) -> str:
    """Host and name of a database."""
    return f"{url.host or 'localhost'}{f':{url.port}' if url.port else ''}/{url.database}"


def _check_server(variable: str, url: str, namespace: str) -> Finding:
    """Whether an MLflow server answers."""
    if namespace and is_out_of_reach(host := urlsplit(url).hostname):
        return out_of_reach(variable, host, namespace)
    try:
        answer = httpx.get(f"{url.rstrip('/')}/health", timeout=ANSWER_S)
        problem = "" if answer.is_success else f"it answers {answer.status_code}"
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        problem = redacted(error, [url])
    if problem:
        todo = "start the MLflow server, or check the address and the network"
        return missing(variable, f"MLflow at {place(url)} is not well: {problem}", todo)
    return fine(variable, f"MLflow answers at {place(url)}")
