"""A bucket keeps objects whole, waits out what passes, and says what does not."""

import os
import time

import boto3
import pytest

from engine.bucket import MEBIBYTE, Bucket, BucketSettings
from tests import buckets
from tests.faulty_http import FaultyProxy


@pytest.fixture
def address(monkeypatch):
    return f"{buckets.make_bucket(monkeypatch)}/team/a"


@pytest.fixture
def bucket(address):
    return Bucket(address)


@pytest.fixture
def faulty(address, monkeypatch):
    """The server behind a proxy that can fail."""
    proxy = FaultyProxy(os.environ["AWS_ENDPOINT_URL"])
    monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
    yield proxy
    proxy.close()


def test_an_object_is_read_as_it_was_written(bucket):
    bucket.put("a/b.bin", b"\x00\xff")

    assert bucket.get("a/b.bin") == b"\x00\xff"


def test_a_large_file_is_sent_in_parts_and_comes_back_whole(bucket, tmp_path, address):
    file, back = tmp_path / "large", tmp_path / "back"
    file.write_bytes(os.urandom(12 * MEBIBYTE))
    small_parts = Bucket(address, BucketSettings(part_mib=5))

    small_parts.upload(file, "large")

    bucket.download("large", back)
    assert back.read_bytes() == file.read_bytes()
    head = boto3.client("s3").head_object(Bucket=buckets.NAME, Key="team/a/large")
    assert head["ETag"].endswith('-3"')


def test_an_absent_object_is_told_by_name(bucket):
    with pytest.raises(FileNotFoundError, match="team/a/nowhere"):
        bucket.get("nowhere")


def test_a_listing_goes_on_over_many_pages(bucket):
    expected = [f"many/{number:06d}" for number in range(10_005)]
    buckets.fill(f"team/a/{key}" for key in expected)

    assert [key for key, _ in bucket.walk("many/")] == expected


def test_deleted_objects_are_gone_and_others_stay(bucket):
    for key in ("a", "b", "c"):
        bucket.put(key, b"x")

    bucket.delete(["a", "b", "never-there"])

    assert [key for key, _ in bucket.walk()] == ["c"]


def test_only_what_is_new_of_a_growing_object_is_read(bucket):
    bucket.put("log", b"first second")

    assert [bucket.tail("log", 6), bucket.tail("log", 12), bucket.tail("other", 0)] == [
        b"second",
        b"",
        b"",
    ]


@pytest.mark.parametrize("write", ["put", "upload"])
def test_writes_ask_for_the_declared_encryption(write, address, tmp_path):
    bucket = Bucket(address, BucketSettings(encryption="aws:kms", kms_key="alias/team"))
    file = tmp_path / "file"
    file.write_bytes(b"secret")

    bucket.put("key", b"secret") if write == "put" else bucket.upload(file, "key")

    head = boto3.client("s3").head_object(Bucket=buckets.NAME, Key="team/a/key")
    assert (head["ServerSideEncryption"], head["SSEKMSKeyId"]) == ("aws:kms", "alias/team")


def test_the_bucket_is_in_the_path_of_an_endpoint(bucket, faulty):
    bucket.put("key", b"x")

    assert faulty.requests[-1][1].startswith(f"/{buckets.NAME}/team/a/key")


def test_a_server_that_asks_to_slow_down_is_waited_out(address, faulty):
    bucket = Bucket(address)
    faulty.fail(503, times=3)

    bucket.put("key", b"x")

    assert bucket.get("key") == b"x"


def test_a_server_that_stays_overloaded_is_told(address, faulty):
    bucket = Bucket(address, BucketSettings(attempts=2))
    faulty.fail(503, times=10)

    with pytest.raises(OSError, match="team/a/key"):
        bucket.put("key", b"x")


def test_a_slow_answer_is_asked_for_again(address, faulty):
    bucket = Bucket(address, BucketSettings(read_timeout_s=0.5))
    bucket.put("key", b"x")
    faulty.delay(2, times=1)

    started = time.monotonic()
    assert bucket.get("key") == b"x"
    assert time.monotonic() - started < 30


def test_a_server_that_is_away_is_told(address, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    bucket = Bucket(address, BucketSettings(attempts=1))

    with pytest.raises(ConnectionError, match="cannot be reached"):
        bucket.get("key")
