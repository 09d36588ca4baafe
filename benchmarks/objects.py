"""Throughput of the object store on S3, against boto3 by hand with the same files.

The S3 server (moto) is a process of its own, so that it does not share Python's lock with what is
measured; it takes the other core.
"""

import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
import httpx

from api.processes.plan import free_port
from benchmarks.measure import show
from engine.artefact import seal
from resources.storage.object_store import ObjectStore

BUCKET = "orrery-bench"
REPEATS = 6
MEBIBYTE = 1 << 20
SETS = {"2 files of 64 MiB": (2, 64 * MEBIBYTE), "200 files of 4 KiB": (200, 4096)}


def main() -> None:
    """Print MiB in a second, to the bucket and back."""
    with tempfile.TemporaryDirectory(prefix="orrery-bench-") as name, _bucket():
        for title, (count, size) in SETS.items():
            files = Files(Path(name), title, count, size)
            puts: dict[str, list[float]] = {"boto3": [], "Orrery": []}
            gets: dict[str, list[float]] = {"boto3": [], "Orrery": []}
            for turn in range(REPEATS + 1):
                contenders = list(files.contenders().items())
                # What the other left in the server must not always meet the same one.
                for contender, (put, get) in contenders[:: -1 if turn % 2 else 1]:
                    put_now, get_now = put(), get()
                    # The first turn only opens connections.
                    if turn:
                        puts[contender].append(put_now)
                        gets[contender].append(get_now)
                _empty(files.client)
            show(f"Put {title}", "MiB/s", puts, "boto3", ">= 0.9")
            show(f"Get {title}", "MiB/s", gets, "boto3", ">= 0.9")


class Files:
    """Files of one size, sealed as a folder of the object store."""

    def __init__(self, folder: Path, title: str, count: int, size: int) -> None:
        self._folder = folder
        self._source = folder / title.replace(" ", "-")
        self._source.mkdir()
        for number in range(count):
            (self._source / f"{number}.bin").write_bytes(secrets.token_bytes(size))
        self._mebibytes = count * size / MEBIBYTE
        self._digest = seal(self._source)
        self._files = sorted(self._source.iterdir())
        self.client: Any = boto3.client("s3")
        self._store = ObjectStore(f"s3://{BUCKET}", folder / "cache")

    def contenders(self) -> dict[str, tuple[Callable[[], float], Callable[[], float]]]:
        """How each puts and gets."""
        return {
            "boto3": (self._put_by_hand, self._get_by_hand),
            "Orrery": (self._put, self._get),
        }

    def _put_by_hand(self) -> float:
        began = time.perf_counter()
        for file in self._files:
            self.client.upload_file(str(file), BUCKET, f"hand/{file.name}")
        return self._mebibytes / (time.perf_counter() - began)

    def _get_by_hand(self) -> float:
        with tempfile.TemporaryDirectory(dir=self._folder) as target:
            began = time.perf_counter()
            for file in self._files:
                self.client.download_file(BUCKET, f"hand/{file.name}", f"{target}/{file.name}")
            return self._mebibytes / (time.perf_counter() - began)

    def _put(self) -> float:
        began = time.perf_counter()
        self._store.put_folder(self._source, "ours")
        return self._mebibytes / (time.perf_counter() - began)

    def _get(self) -> float:
        began = time.perf_counter()
        target = self._store.fetch_folder("ours", self._digest)
        spent_s = time.perf_counter() - began
        shutil.rmtree(target)
        return self._mebibytes / spent_s


def _empty(client: Any) -> None:
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET):
        keys = [{"Key": each["Key"]} for each in page.get("Contents", ())]
        client.delete_objects(Bucket=BUCKET, Delete={"Objects": keys})


@contextmanager
def _bucket() -> Iterator[None]:
    """An S3 server in a process of its own, with an empty bucket."""
    port = free_port("127.0.0.1")
    url = f"http://127.0.0.1:{port}"
    os.environ |= {
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": url,
    }
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        end = time.monotonic() + 60
        while not _answers(url):
            if time.monotonic() > end:
                raise RuntimeError(f"{url} did not answer within a minute")
            time.sleep(0.1)
        boto3.client("s3").create_bucket(Bucket=BUCKET)
        yield
    finally:
        server.terminate()
        server.wait(30)


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/moto-api/", timeout=5).is_success
    except httpx.HTTPError:
        return False
