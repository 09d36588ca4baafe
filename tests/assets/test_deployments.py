"""Which version a deployment serves, and what is promoted."""

import json
import threading

import httpx
import pytest

from resources.database.control import made_at, new_id
from resources.gate import GateRefused, require_evidence
from tests.waiting import until

SERVICE = "flowers.classifier-api"


def pinned(loop, version):
    """Config of a deployment job of the version, as the API takes it."""
    digest = loop.tracking.version("flowers.classifier", version).artefact_digest
    return {
        "flowers__champion__classifier": {"model_version": version},
        "flowers__service__classifier_api": {"model_version": version, "artefact_digest": digest},
    }


def answering(loop):
    status = loop.adapters["runtime"].status(SERVICE)
    return [(a.model_version, a.percent) for a in status.answering]


def champion(loop):
    return loop.tracking.aliased("flowers.classifier", "champion").version


@pytest.mark.begins("two versions")
def test_a_deployment_serves_the_version_it_pins_whatever_the_champion_is(loop, reconciler):
    assert loop.materialize("champion", "service", **pinned(loop, 1)).success
    # Another deployment promotes its version before the service of this one is materialised.
    assert loop.materialize("champion").success
    assert champion(loop) == 2
    config = {
        "flowers__service__classifier_api": pinned(loop, 1)["flowers__service__classifier_api"]
    }
    assert loop.materialize("service", **config).success
    assert answering(loop) == [(1, 100)]
    # Without a pin the champion is served.
    assert loop.materialize("service").success
    assert answering(loop) == [(2, 100)]


@pytest.mark.begins("promoted")
def test_a_pinned_version_with_other_bytes_than_the_pin_says_is_refused(loop, reconciler):
    wrong = {"model_version": 1, "artefact_digest": "0" * 64}
    result = loop.materialize("service", flowers__service__classifier_api=wrong)
    said = loop.failure_of(result)
    assert "the deployment pins 000000000000; deploy it again" in said


@pytest.mark.begins("two versions")
@pytest.mark.parametrize("later", [1, 2])
def test_of_two_deployments_at_once_each_serves_its_own_and_the_later_one_wins(
    loop, reconciler, later
):
    results = {}
    jobs = {3 - later: new_id("job")}
    taken_at = made_at(jobs[3 - later])
    jobs[later] = until(lambda: made_at(result := new_id("job")) > taken_at and result)
    began = threading.Barrier(2)

    def deploy(version):
        began.wait()
        config = pinned(loop, version)
        results[version] = loop.materialize("champion", "service", job=jobs[version], **config)

    threads = [threading.Thread(target=deploy, args=(version,)) for version in (1, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert results[later].success, loop.failure_of(results[later])
    assert answering(loop) == [(later, 100)]
    assert champion(loop) == later
    assert loop.metadata("service", "classifier-api")["model_version"] == later
    other = results[3 - later]
    assert other.success or "gives way to" in loop.failure_of(other)


def test_a_version_with_the_bytes_of_the_champion_is_not_promoted_and_not_deployed_again(
    loop, reconciler
):
    everything = ("dataset", "checkpoint", "model", "simulation", "champion", "service")
    assert loop.materialize(*everything).success
    before = loop.adapters["runtime"].status(SERVICE)

    result = loop.materialize(*everything)

    assert result.success, loop.failure_of(result)
    assert loop.metadata("model", "classifier")["model_version"] == 2
    assert champion(loop) == 1
    assert loop.metadata("champion", "classifier")["promotion"] == (
        "nothing new to promote: version 2 has the same bytes as the champion, version 1"
    )
    after = loop.adapters["runtime"].status(SERVICE)
    assert [r.pid for r in after.replicas] == [r.pid for r in before.replicas]
    assert answering(loop) == [(1, 100)]


@pytest.mark.begins("promoted")
def test_the_probes_of_a_deployment_are_no_requests_of_the_service(loop, reconciler):
    assert loop.materialize("service").success
    url = loop.adapters["runtime"].endpoint(SERVICE)
    mark = [1.0, 2.0, 3.0, 4.0]
    httpx.post(url, json={"inputs": [mark]}).raise_for_status()
    folder = loop.settings.state / "requests" / SERVICE

    def entries():
        lines = [line for f in folder.glob("*.jsonl") for line in f.read_text().splitlines()]
        found = [json.loads(line) for line in lines]
        return [entry["inputs"] for entry in found if entry.keys() != {"columns"}]

    until(lambda: mark in entries())
    assert entries() == [mark]


def test_the_gate_refuses_with_the_findings_of_each_simulation(loop):
    wrong = {"hyperparameters": {"wrong": True}}
    loop.materialize(
        "dataset", "checkpoint", "model", "simulation", flowers__checkpoint__classifier=wrong
    )
    digest = loop.tracking.version("flowers.classifier", 1).artefact_digest
    evidence = loop.adapters["evidence"]

    with pytest.raises(GateRefused) as refused:
        require_evidence(loop.project, "classifier", digest, evidence)
    (refusal,) = refused.value.refusals
    assert (refusal.simulation, refusal.outcome) == ("nudge", "fail")
    assert refusal.findings[0].measurement.metric == "robust_accuracy"

    with pytest.raises(GateRefused) as refused:
        require_evidence(loop.project, "classifier", "0" * 64, evidence)
    assert [(r.simulation, r.outcome) for r in refused.value.refusals] == [("nudge", "missing")]
