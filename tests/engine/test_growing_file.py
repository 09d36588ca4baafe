"""A file that grows, copied to a bucket by one writer after another and read meanwhile."""

import pytest

from engine.bucket import Bucket
from engine.growing_file import PART_BYTES, GrowingFile, GrowingReader, download
from tests import buckets


@pytest.fixture
def bucket(monkeypatch):
    return Bucket(f"{buckets.make_bucket(monkeypatch)}/jobs/j1")


@pytest.fixture
def writer(bucket, tmp_path):
    """Makes a writer with its own machine's file, which has what earlier writers copied."""

    def writer_of(name):
        file = tmp_path / name / "log"
        file.parent.mkdir()
        copy = GrowingFile(bucket, "log", name)
        copy.fetch(file)

        def write(content):
            with file.open("ab") as target:
                target.write(content)
            copy.upload(file)

        return write

    return writer_of


def test_a_reader_gets_every_byte_once(bucket, writer):
    write, reader = writer("0001-a"), GrowingReader(bucket, "log")
    sent = [bytes([65 + n]) * size for n, size in enumerate((1, PART_BYTES, 3 * PART_BYTES, 7))]

    got = b""
    for content in sent:
        write(content)
        got += reader.read()

    assert got == b"".join(sent)
    assert reader.read() == b""


def test_a_writer_that_has_been_succeeded_overwrites_nothing(bucket, writer, tmp_path):
    old, reader = writer("0001-a"), GrowingReader(bucket, "log")
    old(b"one\n")
    new = writer("0002-b")
    new(b"three\n")
    old(b"two is late\n")
    new(b"four\n")

    assert sorted(reader.lines().splitlines()) == [b"four", b"one", b"three", b"two is late"]
    download(bucket, "log", tmp_path / "whole")
    assert (tmp_path / "whole").read_bytes() == b"one\ntwo is late\nthree\nfour\n"


def test_a_line_is_told_once_it_is_ended(bucket, writer):
    write, reader = writer("0001-a"), GrowingReader(bucket, "log")
    write(b"one\ntw")
    assert reader.lines() == b"one\n"
    write(b"o\n")
    assert reader.lines() == b"two\n"


def test_what_was_there_before_can_be_passed_over(bucket, writer):
    write, reader = writer("0001-a"), GrowingReader(bucket, "log")
    write(b"old\n")
    reader.skip()
    write(b"new\n")
    assert reader.lines() == b"new\n"


def test_the_end_of_a_long_file_is_read_across_its_parts(bucket, writer):
    writer("0001-a")(b"x" * (PART_BYTES - 2) + b"yyyy")
    writer("0002-b")(b"zz")
    assert GrowingReader(bucket, "log").end(5) == b"yyyzz"
    assert GrowingReader(bucket, "nothing").end(5) == b""
