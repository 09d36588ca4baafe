"""API keys."""

import time

from sqlalchemy import Connection

from accounts import keys
from accounts.roles import Role
from api.context import Call
from api.handlers.accounts import member_of, require_reach
from api.handlers.jobs import moment, shown_accounts
from api.operations import keys as ops
from api.operations.operation import Page
from api.paging import key_of, page_of
from api.problems import Problem, not_found
from scheduler.budgets import Budget, accounts_of
from scheduler.usage import NOTHING, Usage, usage, usages

MANAGES_KEYS: tuple[Role, ...] = ("admin", "manager")


DAY_S = 86_400


def list_keys(call: Call, request: ops.ListKeys) -> Page[ops.ApiKey]:
    """The caller's keys, or all keys for a caller who manages keys."""
    principal = call.principal
    is_managing = principal.role in MANAGES_KEYS and principal.projects is None
    mine = None if is_managing else principal.user_id
    with call.platform.control.read() as connection:
        rows = keys.listed(
            connection, principal.organization, mine, key_of(request.cursor), request.limit + 1
        )
        hours = usages(connection, [key.id for key in rows])
        shown = {key.id: _key(call, hours.get(key.id, NOTHING), key) for key in rows}
    return page_of(rows, request.limit, lambda k: k.id, lambda k: shown[k.id])


def create_key(call: Call, request: ops.CreateKey) -> ops.NewApiKey:
    """A key whose rights are within those of its holder and of the caller."""
    principal = call.principal
    require_reach(call, request.role)
    if principal.projects is not None and not set(request.projects or ()) <= principal.projects:
        raise Problem("forbidden", f"your own key reaches only {sorted(principal.projects)}")
    if principal.projects is not None and request.projects is None:
        raise Problem("forbidden", f"your own key reaches only {sorted(principal.projects)}")
    if request.agents_may_change and not principal.agents_may_change:
        raise Problem("forbidden", "your own key does not let agents change anything")
    holder = request.user_id or principal.user_id
    if holder != principal.user_id and principal.role not in MANAGES_KEYS:
        raise Problem("forbidden", f"role {principal.role} may make keys for itself alone")
    expires_at = time.time() + request.expires_in_days * DAY_S if request.expires_in_days else None
    with call.platform.control.write() as connection:
        member = member_of(call, connection, holder)
        if holder != principal.user_id and member.user.kind != "service":
            raise Problem("forbidden", "a person makes their own keys; nobody else acts for them")
        _require_no_more(call, connection, request, expires_at)
        call.begin_change()
        key, token = keys.create(
            connection,
            call.platform.secret,
            organization=principal.organization,
            user_id=holder,
            name=request.name,
            role=request.role,
            projects=request.projects,
            agents_may_change=request.agents_may_change,
            budget_gpu_h=request.budget_gpu_h,
            budget_money=request.budget_money,
            expires_at=expires_at,
        )
        after = {k: v for k, v in key._asdict().items() if k not in ("digest",)}
        call.audited(connection, f"key/{key.id}", after=after)
        shown = _key(call, NOTHING, key)
    return ops.NewApiKey(key=token, **shown.model_dump())


def revoke_key(call: Call, request: ops.KeyId) -> ops.ApiKey:
    """The key, ended."""
    principal = call.principal
    with call.platform.control.write() as connection:
        key = keys.find(connection, request.id)
        mine = key is not None and key.user_id == principal.user_id
        if key is None or key.organization_id != principal.organization:
            raise not_found("key", request.id)
        is_managing = principal.role in MANAGES_KEYS and principal.projects is None
        if not mine and not is_managing:
            raise not_found("key", request.id)
        if not mine:
            require_reach(call, key.role)
        call.begin_change()
        keys.revoke(connection, request.id)
        call.audited(connection, f"key/{request.id}", before={"revoked_at": key.revoked_at})
        ended = keys.find(connection, request.id)
        assert ended
        shown = _key(call, usage(connection, ended.id), ended)
    call.platform.rights_changed()
    return shown


def _require_no_more(
    call: Call, connection: Connection, request: ops.CreateKey, expires_at: float | None
) -> None:
    """A key makes no key that outlives or outspends it; raises `forbidden`."""
    if call.principal.key_id is None:
        return
    own = keys.find(connection, call.principal.key_id)
    assert own
    if own.expires_at is not None and (expires_at is None or expires_at > own.expires_at):
        raise Problem("forbidden", "the key would outlive your own", todo="Name fewer days.")
    for name in ("budget_gpu_h", "budget_money"):
        limit, wanted = getattr(own, name), getattr(request, name)
        if limit is not None and (wanted is None or wanted > limit):
            text = f"your own key has a {name} of {limit:g}"
            raise Problem("forbidden", text, todo=f"Name a {name} of at most that.")


def _key(call: Call, hours: Usage, key: keys.ApiKey) -> ops.ApiKey:
    budget = Budget(key.budget_gpu_h, key.budget_money)
    return ops.ApiKey(
        id=key.id,
        name=key.name,
        user_id=key.user_id,
        role=key.role,
        projects=key.projects,
        agents_may_change=key.agents_may_change,
        budget_gpu_h=key.budget_gpu_h,
        budget_money=key.budget_money,
        used_gpu_h=round(hours.gpu_h, 6),
        budgets=shown_accounts(accounts_of(hours, budget, call.platform.prices)),
        expires_at=moment(key.expires_at),
        revoked_at=moment(key.revoked_at),
        created_at=moment(key.created_at),
    )
