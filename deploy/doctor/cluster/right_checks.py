"""Whether the accounts of the platform may do what they do."""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from deploy.doctor.cluster.rights import RUNS, USES, USES_OF_BUILDS, Right, Use, rights
from deploy.doctor.finding import Finding, fine, missing, skipped, warning
from resources.kubernetes_api.access import account_may, may
from resources.kubernetes_api.access import who as who_is
from resources.kubernetes_api.client import FORBIDDEN, Cluster, ClusterRefused
from resources.kubernetes_api.settings import ClusterSettings

ROLES = "deploy/kubernetes/base/accounts.yaml"
ROLES_OF_BUILDS = "deploy/kubernetes/components/builder/accounts.yaml"
APPLY = "kubectl apply -k deploy/kubernetes/overlays/OVERLAY"
AT_ONCE = 8
"""Questions under way: there are many, and each is a call to the API server."""
PREFIX = "system:serviceaccount:"


@dataclass(frozen=True)
class _Place:
    """A namespace, and the file with the roles of the accounts in it."""

    cluster: Cluster
    roles: str
    suffix: str = ""

    def named(self, account: str) -> str:
        return f"rights of {account}{self.suffix}"


def check_rights(cluster: Cluster) -> Iterator[Finding]:
    """One finding of each account, in the platform's namespace."""
    yield from _checked(_Place(cluster, ROLES), cluster.settings, USES)


def check_build_rights(cluster: Cluster) -> Iterator[Finding]:
    """What run pods do where images are built."""
    settings = cluster.settings
    if settings.registry and settings.build_namespace:
        place = _Place(cluster.within(settings.build_namespace), ROLES_OF_BUILDS, " in builds")
        yield from _checked(place, settings, USES_OF_BUILDS)


def _checked(
    place: _Place, settings: ClusterSettings, uses: Mapping[str, Sequence[Use]]
) -> Iterator[Finding]:
    wanted = {
        (settings.service_account if account == RUNS else account): rights(each, settings)
        for account, each in uses.items()
    }
    users = {account: f"{PREFIX}{settings.namespace}:{account}" for account in wanted}
    try:
        denied = _denied_of(place.cluster, wanted, users)
    except ClusterRefused as error:
        if error.status != FORBIDDEN:
            raise
        yield from _of_this_process(place, wanted, users)
        return
    for account, lacks in denied.items():
        yield _of_account(place, account, users[account], lacks)


def _denied_of(
    cluster: Cluster, wanted: Mapping[str, list[Right]], users: Mapping[str, str]
) -> dict[str, list[Right]]:
    """What each account may not do. Raises ClusterRefused where this process may not ask."""

    def may(asked: tuple[str, Right]) -> bool:
        account, right = asked
        return account_may(cluster, users[account], right.verb, right.kind, right.subresource)

    first, *others = [(account, right) for account, each in wanted.items() for right in each]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        # The first alone: where it is refused, so are all others.
        answers = [may(first), *pool.map(may, others)]
    denied: dict[str, list[Right]] = {account: [] for account in wanted}
    for (account, right), is_allowed in zip((first, *others), answers, strict=True):
        if not is_allowed:
            denied[account].append(right)
    return denied


def _of_account(place: _Place, account: str, user: str, denied: list[Right]) -> Finding:
    namespace = place.cluster.namespace
    if not denied:
        return fine(place.named(account), f"it may do all that it does in {namespace}")
    first = denied[0]
    subresource = f" --subresource={first.subresource}" if first.subresource else ""
    resource = Right(first.verb, first.kind).resource
    return missing(
        place.named(account),
        f"the account {account} may not {shown(denied)} in {namespace}",
        f"apply the roles and bindings of {place.roles}, and ask again",
        APPLY,
        f"kubectl auth can-i {first.verb} {resource}{subresource} --namespace {namespace} "
        f"--as {user}",
    )


def _of_this_process(
    place: _Place, wanted: Mapping[str, list[Right]], users: Mapping[str, str]
) -> Iterator[Finding]:
    """What is known without the right to ask for others: what this process itself may do."""
    who = who_is(place.cluster)
    for account, each in wanted.items():
        if who == users[account]:
            yield _of_account(place, account, who, _denied(place.cluster, each))
        else:
            yield _not_known(place, account, users[account])
    if who not in users.values():
        everything = list(dict.fromkeys(right for each in wanted.values() for right in each))
        yield _of_somebody(place, who, _denied(place.cluster, everything))


def _of_somebody(place: _Place, who: str, denied: list[Right]) -> Finding:
    """What a process may do that is none of the accounts; as a rule a person."""
    name, namespace = place.named("this process"), place.cluster.namespace
    shown_who = who or "this process"
    if not denied:
        return fine(name, f"{shown_who} may do all that the accounts do in {namespace}")
    return warning(
        name,
        f"{shown_who} may not {shown(denied)} in {namespace}; it matters where the platform itself "
        "runs as this user",
        f"give this user the roles of {place.roles}, if so",
    )


def _not_known(place: _Place, account: str, user: str) -> Finding:
    namespace = place.cluster.namespace
    return skipped(
        place.named(account),
        "not known: this account lacks the right `create localsubjectaccessreviews`",
        f"list its rights as somebody who may act for others, and compare with {place.roles}",
        f"kubectl auth can-i --list --namespace {namespace} --as {user}",
    )


def _denied(cluster: Cluster, wanted: list[Right]) -> list[Right]:
    return [r for r in wanted if not may(cluster, r.verb, r.kind, r.subresource)]


def shown(lacks: Sequence[Right]) -> str:
    """Rights as a person reads them: the verbs of a kind together."""
    verbs: dict[str, list[str]] = {}
    for right in lacks:
        verbs.setdefault(right.resource, []).append(right.verb)
    return "; ".join(f"{', '.join(each)} {resource}" for resource, each in verbs.items())
