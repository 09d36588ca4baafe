"""The adapter to a bucket of any S3-compatible server: objects under an `s3://bucket/prefix`.

timeout: `connect_timeout_s` for a connection, `read_timeout_s` of silence while reading.
retry: a call that failed for a passing reason (5xx, 503 SlowDown, a broken connection) is
    repeated up to `attempts` times with growing pauses; what is left is raised as OSError.
cancel: an interrupted upload of several parts is aborted, and leaves nothing that is read.
duplicate: a second write of a key replaces the object whole.
partial write: an object appears whole, when its last part is there.
"""

import hashlib
import os
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, NamedTuple
from urllib.parse import urlsplit

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

ABSENT = ("404", "NoSuchKey", "NotFound")
CHANGED = ("412", "PreconditionFailed", "ConditionalRequestConflict")
# S3 takes no more keys in one request.
MOST_KEYS_OF_A_DELETE = 1_000
MEBIBYTE = 1 << 20
CREATING = threading.Lock()


class BucketSettings(BaseSettings):
    """How buckets are spoken to, from `ORRERY_BUCKET_*`; credentials and the endpoint are AWS's
    own variables."""

    model_config = SettingsConfigDict(env_prefix="ORRERY_BUCKET_", frozen=True, extra="ignore")

    encryption: Literal["", "AES256", "aws:kms"] = ""
    """Server-side encryption asked for with every write; empty for the bucket's own default."""
    kms_key: str = ""
    """Key of `aws:kms`; empty for the account's default key."""
    path_style: bool | None = None
    """Whether the bucket is in the path and not in the host name; by default for every endpoint
    that `AWS_ENDPOINT_URL` names."""
    connect_timeout_s: float = Field(default=10, gt=0)
    read_timeout_s: float = Field(default=60, gt=0)
    attempts: int = Field(default=6, ge=1)
    """How often a call is tried in all."""
    # S3 refuses parts below 5 MiB, except for the last one.
    part_mib: int = Field(default=16, ge=5)
    """Size above which an object is sent in parts, and size of a part."""
    concurrency: int = Field(default=8, ge=1)
    """Parts of one object that are under way at once."""

    @property
    def write_arguments(self) -> dict[str, str]:
        """What every write asks for, as boto3 names it."""
        if not self.encryption:
            return {}
        key = {"SSEKMSKeyId": self.kms_key} if self.kms_key else {}
        return {"ServerSideEncryption": self.encryption, **key}


class Listed(NamedTuple):
    """An object as a listing has it."""

    key: str
    size: int
    """Bytes."""
    modified: float
    """When it was written, in seconds since the epoch."""


class Bucket:
    """Objects under one prefix, by key. Its methods raise OSError: FileNotFoundError for a key
    that is not there, PermissionError for one that may not be reached."""

    def __init__(self, uri: str, settings: BucketSettings | None = None) -> None:
        named = urlsplit(uri)
        self.uri = uri.rstrip("/")
        self.name, self._prefix = named.netloc, named.path.strip("/")
        self._settings = settings or BucketSettings()

    def put(self, key: str, content: bytes) -> None:
        """Write an object."""
        self._put(key, content, {})

    def put_over(self, key: str, content: bytes, etag: str | None) -> str:
        """ETag of the object, written only where it is what the ETag says; None: where there is
        none. Raises ChangedMeanwhile."""
        condition = {"IfMatch": etag} if etag else {"IfNoneMatch": "*"}
        try:
            return self._put(key, content, condition)
        # S3 answers 404 to `If-Match` where the object has been deleted.
        except (ChangedMeanwhile, FileNotFoundError) as error:
            # A write whose answer was lost is refused when it is tried again.
            existing = self.etags(key).get(key)
            if existing and self.get(key) == content:
                return existing
            raise ChangedMeanwhile(f"{self.uri}/{key} was changed by somebody else") from error

    def _put(self, key: str, content: bytes, condition: dict[str, str]) -> str:
        arguments = {**self._settings.write_arguments, **condition}
        with self._translated_errors(key):
            answer = self._client.put_object(
                Bucket=self.name, Key=self._at(key), Body=content, **arguments
            )
            return answer["ETag"]

    def get(self, key: str) -> bytes:
        """Content of an object."""
        with self._translated_errors(key):
            answer = self._client.get_object(Bucket=self.name, Key=self._at(key))
            return answer["Body"].read()

    def sha256(self, key: str) -> str:
        """Hexadecimal SHA-256 of an object's content, as it is read back."""
        digest = hashlib.sha256()
        with self._translated_errors(key):
            body = self._client.get_object(Bucket=self.name, Key=self._at(key))["Body"]
            for chunk in body.iter_chunks(MEBIBYTE):
                digest.update(chunk)
        return digest.hexdigest()

    def tail(self, key: str, offset: int) -> bytes:
        """What an object has from the offset on; empty where it is not longer, or not there."""
        try:
            with self._translated_errors(key):
                answer = self._client.get_object(
                    Bucket=self.name, Key=self._at(key), Range=f"bytes={offset}-"
                )
                return answer["Body"].read()
        # S3 refuses a range that begins where the object ends.
        except (_BeyondTheEnd, FileNotFoundError):
            return b""

    def upload(self, file: Path, key: str) -> None:
        """Write a file as an object, in parts where it is large."""
        with self._translated_errors(key):
            self._client.upload_file(
                str(file),
                self.name,
                self._at(key),
                ExtraArgs=self._settings.write_arguments,
                Config=self._transfer,
            )

    def download(self, key: str, file: Path) -> None:
        """Write an object's content as a file."""
        with self._translated_errors(key):
            self._client.download_file(self.name, self._at(key), str(file), Config=self._transfer)

    def size(self, key: str) -> int | None:
        """Bytes of an object; None where there is none."""
        try:
            with self._translated_errors(key):
                return self._client.head_object(Bucket=self.name, Key=self._at(key))[
                    "ContentLength"
                ]
        except FileNotFoundError:
            return None

    def walk(self, prefix: str = "") -> Iterator[tuple[str, int]]:
        """Key and bytes of every object under the prefix, in order; a thousand a call."""
        yield from ((each.key, each.size) for each in self.listed(prefix))

    def listed(self, prefix: str = "") -> Iterator["Listed"]:
        """Every object under the prefix, in order of the keys; a thousand a call."""
        pages = self._client.get_paginator("list_objects_v2")
        with self._translated_errors(prefix):
            for page in pages.paginate(Bucket=self.name, Prefix=self._at(prefix)):
                for entry in page.get("Contents", ()):
                    key = entry["Key"].removeprefix(self._at(""))
                    yield Listed(key, entry["Size"], entry["LastModified"].timestamp())

    def etags(self, prefix: str = "") -> dict[str, str]:
        """What tells one content from another, by key of every object under the prefix."""
        pages = self._client.get_paginator("list_objects_v2")
        with self._translated_errors(prefix):
            return {
                entry["Key"].removeprefix(self._at("")): entry["ETag"]
                for page in pages.paginate(Bucket=self.name, Prefix=self._at(prefix))
                for entry in page.get("Contents", ())
            }

    def delete(self, keys: Iterable[str]) -> None:
        """Remove objects; one that is not there is no error."""
        pending = [{"Key": self._at(key)} for key in keys]
        for first in range(0, len(pending), MOST_KEYS_OF_A_DELETE):
            some = pending[first : first + MOST_KEYS_OF_A_DELETE]
            with self._translated_errors(some[0]["Key"]):
                answer = self._client.delete_objects(
                    Bucket=self.name, Delete={"Objects": some, "Quiet": True}
                )
            # S3 answers 200 although it has not deleted some of the keys.
            if errors := answer.get("Errors"):
                raise OSError(f"{self.uri}: {len(errors)} objects stay: {errors[0]['Message']}")

    def upload_folder(self, folder: Path, key: str) -> None:
        """Write every file of a folder under the key."""
        for file in sorted(path for path in folder.rglob("*") if path.is_file()):
            self.upload(file, f"{key}/{file.relative_to(folder)}")

    def download_folder(self, key: str, folder: Path) -> None:
        """Write every object under the key into a folder."""
        for name, _ in self.walk(f"{key}/"):
            file = folder / name.removeprefix(f"{key}/")
            file.parent.mkdir(parents=True, exist_ok=True)
            self.download(name, file)

    def _at(self, key: str) -> str:
        return f"{self._prefix}/{key}" if self._prefix else key

    @cached_property
    def _client(self) -> Any:
        import boto3
        from botocore.config import Config

        s = self._settings
        in_path = s.path_style
        if in_path is None:
            in_path = bool({"AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"} & os.environ.keys())
        # boto3's default session is not made safely by two threads at once.
        with CREATING:
            return boto3.client(
                "s3",
                config=Config(
                    connect_timeout=s.connect_timeout_s,
                    read_timeout=s.read_timeout_s,
                    retries={"mode": "standard", "total_max_attempts": s.attempts},
                    max_pool_connections=4 * s.concurrency,
                    s3={"addressing_style": "path" if in_path else "virtual"},
                ),
            )

    @cached_property
    def _transfer(self) -> Any:
        from boto3.s3.transfer import TransferConfig

        size, concurrency = self._settings.part_mib * MEBIBYTE, self._settings.concurrency
        return TransferConfig(
            multipart_threshold=size, multipart_chunksize=size, max_concurrency=concurrency
        )

    @contextmanager
    def _translated_errors(self, key: str) -> Iterator[None]:
        """Raise the client's errors as OSError that says which object and what to do."""
        from boto3.exceptions import S3UploadFailedError
        from botocore.exceptions import BotoCoreError, ClientError

        where = f"{self.uri}/{key}"
        try:
            yield
        except ClientError as error:
            raise _as_os_error(where, error) from error
        except S3UploadFailedError as error:
            # boto3 raises this error while it handles the client's error, without `from`.
            cause = error.__context__
            if isinstance(cause, ClientError):
                raise _as_os_error(where, cause) from error
            raise OSError(f"{where} was not written: {error}") from error
        except BotoCoreError as error:
            raise ConnectionError(f"{where} cannot be reached: {error}") from error


class ChangedMeanwhile(OSError):
    """The object is not what it was when it was read."""


class _BeyondTheEnd(OSError):
    """The object has no byte at the offset."""


def _as_os_error(where: str, error: Any) -> OSError:
    code = str(error.response.get("Error", {}).get("Code", ""))
    if code in ABSENT:
        return FileNotFoundError(f"there is no {where}")
    if code in CHANGED:
        return ChangedMeanwhile(f"{where} was changed by somebody else")
    if code == "InvalidRange":
        return _BeyondTheEnd(where)
    if code in ("AccessDenied", "403", "InvalidAccessKeyId", "SignatureDoesNotMatch"):
        return PermissionError(
            f"{where} may not be reached ({code}); check AWS_ACCESS_KEY_ID, the bucket's policy, "
            "and this machine's clock"
        )
    if code == "RequestTimeTooSkewed":
        return OSError(f"{where}: this machine's clock is wrong; synchronise it ({error})")
    return OSError(f"{where}: {error}")
