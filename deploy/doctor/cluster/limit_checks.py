"""Whether the namespace admits a run pod: what its LimitRanges and ResourceQuotas say of one."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from deploy.doctor.finding import Finding, fine, missing, warning
from resources.kubernetes_api.client import Cluster
from resources.kubernetes_api.pod_template import run_resources

Amounts = dict[str, Decimal]
MUST_BE_NAMED = ("cpu", "memory", "requests.cpu", "requests.memory", "limits.cpu", "limits.memory")
"""What every pod must name where a quota bounds it; the API server refuses it otherwise."""
OF_RUN_PODS = {"NotBestEffort", "NotTerminating"}
"""Scopes of quotas that run pods fall under: they have requests, and no deadline."""


@dataclass
class Size:
    """Requests and limits of a pod of one container."""

    requests: Amounts = field(default_factory=dict)
    limits: Amounts = field(default_factory=dict)

    @property
    def named(self) -> Amounts:
        """As quotas count it; an amount that is not there is not named."""
        return {
            **self.requests,
            **{f"requests.{name}": amount for name, amount in self.requests.items()},
            **{f"limits.{name}": amount for name, amount in self.limits.items()},
            "pods": Decimal(1),
            "count/pods": Decimal(1),
            "count/jobs.batch": Decimal(1),
        }


def size_of(resources: Mapping[str, Any]) -> Size:
    """The size that a container's `resources` name: a limit is a request, too."""
    limits = _amounts(resources.get("limits"))
    return Size({**limits, **_amounts(resources.get("requests"))}, limits)


def check_limits(cluster: Cluster) -> Iterator[Finding]:
    """What the namespace's LimitRanges make of a run pod, and refuse of it."""
    ranges = list(cluster.find("LimitRange"))
    if not ranges:
        yield fine("LimitRanges", f"there is none in {cluster.namespace}")
        return
    size = with_defaults(size_of(run_resources(cluster.settings)), ranges)
    refusals = [(each, said) for each in ranges for said in refusals_of(size, each)]
    if not refusals:
        names = ", ".join(each["metadata"]["name"] for each in ranges)
        yield fine("LimitRanges", f"run pods keep to {names}")
        return
    names = sorted({each["metadata"]["name"] for each, _ in refusals})
    yield missing(
        "LimitRanges",
        f"run pods are refused by {', '.join(names)}: {'; '.join(said for _, said in refusals)}",
        f"let it admit pods that ask for {_shown(size_of(run_resources(cluster.settings)))}",
        *(f"kubectl -n {cluster.namespace} edit limitrange {name}" for name in names),
    )


def check_quotas(cluster: Cluster) -> Iterator[Finding]:
    """Whether a run pod fits into what is left of the namespace's ResourceQuotas."""
    quotas = [each for each in cluster.find("ResourceQuota") if _is_of_run_pods(each)]
    if not quotas:
        yield fine("ResourceQuotas", f"none in {cluster.namespace} bounds run pods")
        return
    size = with_defaults(size_of(run_resources(cluster.settings)), list(cluster.find("LimitRange")))
    findings = [_of_quota(cluster, quota, size) for quota in quotas]
    yield from findings


def _of_quota(cluster: Cluster, quota: dict[str, Any], size: Size) -> Finding:
    name, named = quota["metadata"]["name"], size.named
    finding, edit = f"ResourceQuota {name}", f"edit resourcequota {name}"
    hard = _amounts((quota.get("spec") or {}).get("hard"))
    used = _amounts((quota.get("status") or {}).get("used"))
    if unnamed := [key for key in MUST_BE_NAMED if key in hard and key not in named]:
        return missing(
            finding,
            f"it bounds {', '.join(unnamed)}, which run pods do not name; the API server refuses "
            "every pod of the kind",
            "take that out of the quota, or add a LimitRange with a default for it; for limits.cpu "
            "ORRERY_CLUSTER_CPU_LIMITS=true does, too",
            f"kubectl -n {cluster.namespace} {edit}",
        )
    wanted = {key: amount for key, amount in named.items() if key in hard}
    never = [key for key, amount in wanted.items() if amount > hard[key]]
    if never:
        return missing(
            finding,
            f"a run pod never fits: {_compared(never, wanted, hard, 'the quota is')}",
            "raise the quota",
            f"kubectl -n {cluster.namespace} {edit}",
        )
    left = {key: hard[key] - used.get(key, Decimal(0)) for key in wanted}
    if full := [key for key, amount in wanted.items() if amount > left[key]]:
        return warning(
            finding,
            f"no run pod fits now: {_compared(full, wanted, left, 'left is')}; runs wait",
            "raise the quota, or wait for pods to end",
            f"kubectl -n {cluster.namespace} describe resourcequota {name}",
            f"kubectl -n {cluster.namespace} {edit}",
        )
    return fine(finding, "a run pod fits into what is left")


def with_defaults(size: Size, ranges: list[dict[str, Any]]) -> Size:
    """The size with what LimitRanges give to containers that do not name it."""
    requests, limits = dict(size.requests), dict(size.limits)
    for each in _items(ranges, "Container"):
        greatest, fewest = _amounts(each.get("max")), _amounts(each.get("min"))
        # The API server completes a LimitRange: its maximum is the default, where it names none.
        default = {**greatest, **_amounts(each.get("default"))}
        for name, amount in default.items():
            limits.setdefault(name, amount)
        for name, amount in {**fewest, **default, **_amounts(each.get("defaultRequest"))}.items():
            requests.setdefault(name, amount)
    return Size(requests, limits)


def refusals_of(size: Size, limit_range: dict[str, Any]) -> list[str]:
    """Why the LimitRange refuses a pod of one container of this size."""
    return [
        said
        for kind in ("Container", "Pod")
        for each in _items([limit_range], kind)
        for said in (*_too_much(size, each, kind), *_too_little(size, each, kind))
    ]


def _too_much(size: Size, item: Mapping[str, Any], kind: str) -> Iterator[str]:
    for name, most in _amounts(item.get("max")).items():
        limit, request = size.limits.get(name), size.requests.get(name)
        if limit is None:
            yield f"it wants a limit of {name} for each {kind.lower()}"
        elif limit > most or (request or limit) > most:
            yield f"the {name} of a run pod is {_plain(limit)}, the greatest is {_plain(most)}"
    for name, most in _amounts(item.get("maxLimitRequestRatio")).items():
        limit, request = size.limits.get(name), size.requests.get(name)
        if not limit or not request:
            yield f"it wants a limit and a request of {name} for each {kind.lower()}"
        elif limit / request > most:
            ratio = _plain((limit / request).quantize(Decimal("0.1")))
            yield f"the limit of {name} is {ratio} times the request, the most is {_plain(most)}"


def _too_little(size: Size, item: Mapping[str, Any], kind: str) -> Iterator[str]:
    for name, least in _amounts(item.get("min")).items():
        request = size.requests.get(name)
        if request is None:
            yield f"it wants a request of {name} for each {kind.lower()}"
        elif request < least:
            yield f"the {name} of a run pod is {_plain(request)}, the least is {_plain(least)}"


def _items(ranges: list[dict[str, Any]], kind: str) -> Iterator[Mapping[str, Any]]:
    for each in ranges:
        yield from (item for item in each["spec"]["limits"] if item["type"] == kind)


def _is_of_run_pods(quota: Mapping[str, Any]) -> bool:
    spec = quota.get("spec") or {}
    selected = (spec.get("scopeSelector") or {}).get("matchExpressions") or ()
    return {*spec.get("scopes", ()), *(each["scopeName"] for each in selected)} <= OF_RUN_PODS


def _amounts(named: Mapping[str, Any] | None) -> Amounts:
    from kubernetes.utils.quantity import parse_quantity

    return {name: parse_quantity(amount) for name, amount in (named or {}).items()}


def _compared(keys: list[str], wanted: Amounts, bound: Amounts, word: str) -> str:
    pairs = (f"{key} is {_plain(wanted[key])}, {word} {_plain(bound[key])}" for key in keys)
    return "; ".join(pairs)


def _shown(size: Size) -> str:
    requests = ", ".join(f"{name} {_plain(amount)}" for name, amount in size.requests.items())
    limits = ", ".join(f"{name} {_plain(amount)}" for name, amount in size.limits.items())
    return f"{requests} (limits: {limits})"


def _plain(amount: Decimal) -> str:
    """The amount as manifests write it: `1Gi`, `250m`, `2`."""
    for suffix, size in (("Gi", 1 << 30), ("Mi", 1 << 20)):
        if abs(amount) >= size and amount % (size // 1024) == 0:
            return f"{(amount / size).normalize():f}{suffix}"
    if amount == amount.to_integral_value():
        return f"{amount.to_integral_value():f}"
    return f"{(amount * 1000).normalize():f}m"
