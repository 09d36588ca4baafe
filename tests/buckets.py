"""A real S3 server in this process, for adapters that speak S3."""

import functools
from collections.abc import Iterable

import boto3
import httpx
import pytest
from moto.server import ThreadedMotoServer

NAME = "orrery-tests"


@functools.cache
def _server() -> str:
    """Address of the one server of this process; it ends with it."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    return f"http://{host}:{port}"


def make_bucket(monkeypatch: pytest.MonkeyPatch) -> str:
    """Address of an empty, versioned bucket; pyarrow and boto3 reach it by the
    environment, as do processes that are started."""
    environment = {
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": _server(),
        "AWS_ALLOW_HTTP": "true",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    httpx.post(f"{_server()}/moto-api/reset").raise_for_status()
    client = boto3.client("s3")
    client.create_bucket(Bucket=NAME)
    client.put_bucket_versioning(Bucket=NAME, VersioningConfiguration={"Status": "Enabled"})
    return f"s3://{NAME}"


def put(key: str, content: bytes) -> None:
    """Write an object into the bucket."""
    boto3.client("s3").put_object(Bucket=NAME, Key=key, Body=content)


def fill(keys: Iterable[str]) -> None:
    """Empty objects of many keys, put behind the server's back: by its API they take minutes."""
    from moto.s3.models import s3_backends

    backend = s3_backends["123456789012"]["aws"]
    for key in keys:
        backend.put_object(NAME, key, b"")


def get(key: str) -> bytes:
    """Content of an object of the bucket."""
    return boto3.client("s3").get_object(Bucket=NAME, Key=key)["Body"].read()


def written() -> list[tuple[str, str]]:
    """Key and id of every write the bucket ever took."""
    listed = boto3.client("s3").list_object_versions(Bucket=NAME)
    return sorted((each["Key"], each["VersionId"]) for each in listed.get("Versions", []))


def listed() -> list[str]:
    """Keys of the objects that are in the bucket."""
    answer = boto3.client("s3").list_objects_v2(Bucket=NAME)
    return [each["Key"] for each in answer.get("Contents", [])]
