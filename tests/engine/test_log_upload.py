"""What services keep of their requests in the bucket is bounded for each service."""

import pytest

from engine.bucket import Bucket
from engine.log_upload import Bound, LogUpload
from tests import buckets


@pytest.fixture
def service(monkeypatch):
    return Bucket(f"{buckets.make_bucket(monkeypatch)}/requests/p.api")


def keys(bucket):
    return [key for key, _ in bucket.walk()]


def aged(bucket, monkeypatch):
    """Objects are as old as the number that their keys end with."""
    listed = Bucket.listed
    monkeypatch.setattr(
        Bucket,
        "listed",
        lambda self, prefix="": (
            each._replace(modified=-float(each.key[-1])) for each in listed(self, prefix)
        ),
    )


def test_the_oldest_files_of_all_pods_go_first(service, monkeypatch):
    for key in ("gone/9", "gone/5", "here/7", "here/1"):
        service.put(key, b"x" * 100)
    Bucket(service.uri.replace("p.api", "p.other")).put("pod/9", b"x" * 1_000)
    aged(service, monkeypatch)

    deleted = Bound(service, most=250).keep(0)

    assert deleted == ["gone/9", "here/7"]
    assert keys(service) == ["gone/5", "here/1"]
    assert len(keys(Bucket(service.uri.replace("p.api", "p.other")))) == 1


def test_the_bound_is_looked_at_whenever_a_part_of_it_was_sent(service, monkeypatch):
    bound = Bound(service, most=1_600)
    assert bound.keep(0) == []
    for number in range(9):
        service.put(f"pod/{number}", b"x" * 200)
    aged(service, monkeypatch)

    assert bound.keep(60) == []
    assert bound.keep(60) == ["pod/8"]


def test_a_file_that_was_deleted_as_the_oldest_is_not_sent_again_unless_it_grows(service, tmp_path):
    (tmp_path / "requests.1.jsonl").write_text("{}\n")
    upload = LogUpload(tmp_path, Bucket(f"{service.uri}/pod"))
    assert upload.send() == 3
    service.delete(["pod/requests.1.jsonl"])

    assert upload.send() == 0
    assert keys(service) == []
    (tmp_path / "requests.1.jsonl").write_text("{}\n{}\n")
    assert upload.send() == 6
    assert keys(service) == ["pod/requests.1.jsonl"]
