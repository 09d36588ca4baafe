"""What the reconciler reads of what is asked of services."""

import pytest

from engine.protocol import write_atomically
from serving.contract import STOP, Deployment, StopOrder
from serving.fleet import RECORD
from serving.orders import DEPLOYMENT, NOTHING, Orders


@pytest.fixture
def some_deployment(tmp_path):
    return Deployment(
        service="p.s",
        version="1",
        model_version=1,
        artefact_digest="a" * 64,
        bento=tmp_path / "bento",
        bento_home=tmp_path / "home",
        replicas=1,
        canary=[100],
        step_s=0.5,
    )


@pytest.fixture
def read(monkeypatch):
    """How often a deployment was read."""
    read = []
    real = Deployment.model_validate_json

    def counted(content):
        read.append(content)
        return real(content)

    monkeypatch.setattr(Deployment, "model_validate_json", counted)
    return read


def test_a_deployment_is_read_when_it_changes_and_not_at_every_look(
    tmp_path, some_deployment, read
):
    (tmp_path / "s").mkdir()
    write_atomically(tmp_path / "s" / DEPLOYMENT, some_deployment.model_dump_json())
    orders = Orders(tmp_path)

    assert [orders.read()["s"].deployment for _ in range(3)] == [some_deployment] * 3
    assert len(read) == 1
    other = some_deployment.model_copy(update={"replicas": some_deployment.replicas + 1})
    write_atomically(tmp_path / "s" / DEPLOYMENT, other.model_dump_json())
    assert orders.read()["s"].deployment == other


def test_a_file_that_cannot_be_read_is_read_again_at_every_look(tmp_path, some_deployment, read):
    file = tmp_path / "s" / DEPLOYMENT
    file.parent.mkdir()
    file.write_text("{")
    orders = Orders(tmp_path)

    assert all(orders.read()["s"].is_unreadable for _ in range(2))
    assert len(read) == 2
    write_atomically(file, some_deployment.model_dump_json())
    assert orders.read()["s"].deployment == some_deployment


def test_a_stop_beside_a_deployment_is_seen_when_it_appears(tmp_path, some_deployment):
    (tmp_path / "s").mkdir()
    write_atomically(tmp_path / "s" / DEPLOYMENT, some_deployment.model_dump_json())
    orders = Orders(tmp_path)
    assert orders.read()["s"].stop is None

    stop = StopOrder(request="r", reason="the deployment was stopped")
    write_atomically(tmp_path / "s" / STOP, stop.model_dump_json())

    assert orders.read()["s"].stop == stop


def test_a_service_whose_deployment_is_gone_is_asked_for_nothing_while_it_has_a_record(
    tmp_path, some_deployment
):
    (tmp_path / "s").mkdir()
    write_atomically(tmp_path / "s" / DEPLOYMENT, some_deployment.model_dump_json())
    orders = Orders(tmp_path)
    assert orders.read()["s"].deployment == some_deployment

    (tmp_path / "s" / RECORD).write_text("{}")
    (tmp_path / "s" / DEPLOYMENT).unlink()
    assert orders.read() == {"s": NOTHING}
    (tmp_path / "s" / RECORD).unlink()
    assert orders.read() == {}
