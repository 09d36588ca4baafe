"""The status a kubelet reports for a pod."""

from tests.cluster.double.api.client import condition, with_condition
from tests.cluster.double.api.resource_types import Object
from tests.cluster.double.nodes.containers import Container


def _phase(containers: list[Container]) -> str:
    main = [each for each in containers if not each.init]
    begun = any(each.running or each.restarts or each.exit_code is not None for each in main)
    return "Running" if begun else "Pending"


def ended_phase(containers: list[Container]) -> str:
    """Phase of a pod whose containers have all ended."""
    main = [each for each in containers if not each.init]
    return "Succeeded" if all(each.exit_code == 0 for each in main) else "Failed"


def _conditions(
    known: list[Object] | None, containers: list[Container], outcome: Object | None, now: str
) -> list[Object]:
    main = [each for each in containers if not each.init]
    unready = [each.name for each in main if not each.ready]
    initialized = all(
        each.exit_code == 0 or (each.sidecar and each.started) for each in containers if each.init
    )
    waiting = [each.name for each in containers if each.init and each.exit_code != 0]
    answer = ("ContainersNotReady", f"containers with unready status: [{' '.join(unready)}]")
    if outcome:
        answer = ("PodCompleted" if outcome["phase"] == "Succeeded" else "PodFailed", "")
    created = [condition("PodReadyToStartContainers", True, "", "", now)]
    if initialized or outcome:
        created.append(condition("Initialized", True, "", "", now))
    else:
        message = f"containers with incomplete status: [{' '.join(waiting)}]"
        created.append(condition("Initialized", False, "ContainersNotInitialized", message, now))
    ready = not unready and not outcome
    for kind in ("ContainersReady", "Ready"):
        created.append(condition(kind, ready, *(("", "") if ready else answer), now))
    created += (outcome or {}).get("conditions", ())
    for each in created:
        shown = {key: value for key, value in each.items() if value}
        known = with_condition(known, shown)
    return known or []


def pod_status(
    pod: Object,
    containers: list[Container],
    ip: str,
    begun: str,
    outcome: Object | None,
    now: str,
) -> Object:
    """The status after the states of the containers, or after the pod's outcome."""
    known = pod.get("status") or {}
    status = {
        **known,
        "phase": _phase(containers),
        "startTime": begun,
        "hostIP": "127.0.0.1",
        "hostIPs": [{"ip": "127.0.0.1"}],
        "podIP": ip,
        "podIPs": [{"ip": ip}],
        "conditions": _conditions(known.get("conditions"), containers, outcome, now),
        "containerStatuses": [each.status() for each in containers if not each.init],
    }
    if outcome:
        status.update({key: value for key, value in outcome.items() if key != "conditions"})
    if any(each.init for each in containers):
        status["initContainerStatuses"] = [each.status() for each in containers if each.init]
    return status
