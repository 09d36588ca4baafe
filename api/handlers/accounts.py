"""Organizations, users, keys, audit and callbacks."""

import json
import time
from typing import Any

from sqlalchemy import Connection

from accounts import audit, keys, organizations, sessions, users
from accounts.audit import ChainBroken
from accounts.organizations import NameTaken
from accounts.roles import ACTIONS, RESOURCES, ROLES, Permission, Role
from accounts.users import LastAdmin, Member
from api.handlers.jobs import moment
from api.operations import accounts as ops
from api.operations.operation import Done, Nothing, Page
from api.paging import key_of, page_in_order, page_of
from api.platform import Call
from api.problems import Problem, invalid, not_found
from scheduler import deliveries
from scheduler.deliveries import Delivery
from scheduler.jobs import used_gpu_h

MANAGES_KEYS: tuple[Role, ...] = ("admin", "manager")
DAY_S = 86_400


def me(call: Call, _: Nothing) -> ops.Me:
    """Who asks."""
    principal = call.principal
    with call.platform.control.read() as connection:
        mine = organizations.of_user(connection, principal.user_id)
    held = [Permission(r, a) for r in RESOURCES for a in ACTIONS]
    return ops.Me(
        user_id=principal.user_id,
        name=principal.name,
        organization=principal.organization,
        role=principal.role,
        projects=sorted(principal.projects) if principal.projects is not None else None,
        key_id=principal.key_id,
        agents_may_change=principal.agents_may_change,
        organizations=[o.id for o in mine],
        permissions=[str(p) for p in held if principal.may(p)],
    )


def list_organizations(call: Call, asked: ops.ListOrganizations) -> Page[ops.Organization]:
    """Organizations of the caller."""
    with call.platform.control.read() as connection:
        mine = organizations.of_user(connection, call.principal.user_id)
    if call.principal.key_id is not None:
        mine = [o for o in mine if o.id == call.principal.organization]
    return page_in_order(sorted(mine), asked, lambda o: o.id, _organization)


def create_organization(call: Call, asked: ops.CreateOrganization) -> ops.Organization:
    """A new organization with the caller as its admin."""
    with call.platform.control.write() as connection:
        try:
            made = organizations.create(connection, asked.id, asked.name)
        except NameTaken as error:
            raise Problem("conflict", str(error)) from error
        except ValueError as error:
            raise invalid(str(error), "id") from error
        users.join(connection, call.principal.user_id, made.id, "admin")
        call.audited(connection, f"organization/{made.id}", after={"name": made.name})
    call.platform.rights_changed()
    return _organization(made)


def rotate_callback_secret(call: Call, _: Nothing) -> ops.CallbackSecret:
    """The organization's new secret."""
    organization = call.principal.organization
    with call.platform.control.write() as connection:
        generation = organizations.rotate_callback_secret(connection, organization)
        call.audited(connection, f"organization/{organization}", after={"generation": generation})
    secret = call.platform.secret.callback_secret(organization, generation)
    return ops.CallbackSecret(secret=secret, generation=generation)


def list_users(call: Call, asked: ops.ListUsers) -> Page[ops.User]:
    """Members of the organization."""
    with call.platform.control.read() as connection:
        found = users.members(
            connection, call.principal.organization, key_of(asked.cursor), asked.limit + 1
        )
    return page_of(found, asked.limit, lambda m: m.user.id, _user)


def create_user(call: Call, asked: ops.CreateUser) -> ops.User:
    """A new member, or somebody of another organization who becomes one."""
    _require_reach(call, asked.role)
    organization = call.principal.organization
    if asked.kind == "service" and asked.email:
        raise invalid("a service account has no address", "email")
    with call.platform.control.write() as connection:
        try:
            made = users.create(connection, asked.kind, asked.name, asked.email)
        except NameTaken as error:
            raise Problem("conflict", str(error)) from error
        users.join(connection, made.id, organization, asked.role)
        after = {"name": made.name, "kind": made.kind, "role": asked.role}
        call.audited(connection, f"user/{made.id}", after=after)
    return _user(Member(made, asked.role))


def change_user(call: Call, asked: ops.ChangeUser) -> ops.User:
    """Another role for a member."""
    organization = call.principal.organization
    _require_reach(call, asked.role)
    with call.platform.control.write() as connection:
        member = _member(call, connection, asked.id)
        _require_reach(call, member.role)
        try:
            users.join(connection, asked.id, organization, asked.role)
        except LastAdmin as error:
            raise Problem("conflict", str(error)) from error
        before, after = {"role": member.role}, {"role": asked.role}
        call.audited(connection, f"user/{asked.id}", before=before, after=after)
    call.platform.rights_changed()
    return _user(member._replace(role=asked.role))


def remove_user(call: Call, asked: ops.UserId) -> Done:
    """A member leaves."""
    with call.platform.control.write() as connection:
        member = _member(call, connection, asked.id)
        try:
            users.leave(connection, asked.id, call.principal.organization)
        except LastAdmin as error:
            raise Problem("conflict", str(error)) from error
        call.audited(connection, f"user/{asked.id}", before={"role": member.role})
    call.platform.rights_changed()
    return Done(message=f"{member.user.name} is no member any more; keys and sessions have ended")


def sign_in_link(call: Call, asked: ops.UserId) -> ops.SignInLink:
    """A link for a member who is a person."""
    content = {"user_id": asked.id, "organization": call.principal.organization}
    with call.platform.control.write() as connection:
        member = _member(call, connection, asked.id)
        if member.user.kind != "person":
            raise Problem("conflict", "a service account does not sign in", todo="Make it a key.")
        secret = call.platform.secret
        token = sessions.offer(connection, secret, "link", content, sessions.LINK_S)
        call.audited(connection, f"user/{asked.id}")
    url = f"{call.platform.settings.url}/sign-in?token={token}"
    return ops.SignInLink(url=url, expires_at=moment(time.time() + sessions.LINK_S))


def list_keys(call: Call, asked: ops.ListKeys) -> Page[ops.ApiKey]:
    """The caller's keys, or all of them for whoever manages them."""
    principal = call.principal
    mine = None if principal.role in MANAGES_KEYS else principal.user_id
    with call.platform.control.read() as connection:
        found = keys.listed(
            connection, principal.organization, mine, key_of(asked.cursor), asked.limit + 1
        )
        used = {key.id: used_gpu_h(connection, key.id) for key in found[: asked.limit]}
    return page_of(found, asked.limit, lambda k: k.id, lambda k: _key(k, used[k.id]))


def create_key(call: Call, asked: ops.CreateKey) -> ops.NewApiKey:
    """A key that reaches no further than its holder and whoever makes it."""
    principal = call.principal
    _require_reach(call, asked.role)
    if principal.projects is not None and not set(asked.projects or ()) <= principal.projects:
        raise Problem("forbidden", f"your own key reaches only {sorted(principal.projects)}")
    if principal.projects is not None and asked.projects is None:
        raise Problem("forbidden", f"your own key reaches only {sorted(principal.projects)}")
    if asked.agents_may_change and not principal.agents_may_change:
        raise Problem("forbidden", "your own key does not let agents change anything")
    holder = asked.user_id or principal.user_id
    if holder != principal.user_id and principal.role not in MANAGES_KEYS:
        raise Problem("forbidden", f"role {principal.role} may make keys for itself alone")
    expires_at = time.time() + asked.expires_in_days * DAY_S if asked.expires_in_days else None
    with call.platform.control.write() as connection:
        _member(call, connection, holder)
        made, token = keys.create(
            connection,
            call.platform.secret,
            organization=principal.organization,
            user_id=holder,
            name=asked.name,
            role=asked.role,
            projects=asked.projects,
            agents_may_change=asked.agents_may_change,
            budget_gpu_h=asked.budget_gpu_h,
            budget_money=asked.budget_money,
            expires_at=expires_at,
        )
        after = {k: v for k, v in made._asdict().items() if k not in ("digest",)}
        call.audited(connection, f"key/{made.id}", after=after)
    return ops.NewApiKey(key=token, **_key(made, 0.0).model_dump())


def revoke_key(call: Call, asked: ops.KeyId) -> ops.ApiKey:
    """The key, ended."""
    principal = call.principal
    with call.platform.control.write() as connection:
        key = keys.find(connection, asked.id)
        mine = key is not None and key.user_id == principal.user_id
        if key is None or key.organization_id != principal.organization:
            raise not_found("key", asked.id)
        if not mine and principal.role not in MANAGES_KEYS:
            raise not_found("key", asked.id)
        keys.revoke(connection, asked.id)
        call.audited(connection, f"key/{asked.id}", before={"revoked_at": key.revoked_at})
        ended = keys.find(connection, asked.id)
        used = used_gpu_h(connection, asked.id)
    call.platform.rights_changed()
    assert ended
    return _key(ended, used)


def search_audit(call: Call, asked: ops.SearchAudit) -> Page[ops.AuditEntry]:
    """Entries of the organization."""
    with call.platform.control.read() as connection:
        found = audit.search(
            connection,
            call.principal.organization,
            actor=asked.actor,
            action=asked.action,
            object=asked.object,
            decision=asked.decision,
            since=asked.since.timestamp() if asked.since else None,
            until=asked.until.timestamp() if asked.until else None,
            before_number=key_of(asked.cursor, int),
            limit=asked.limit + 1,
        )
    return page_of(found, asked.limit, lambda e: e.number, _entry)


def verify_audit(call: Call, _: Nothing) -> ops.AuditVerdict:
    """Whether the chain holds."""
    with call.platform.control.read() as connection:
        try:
            chain = audit.verify(connection)
        except ChainBroken as error:
            return ops.AuditVerdict(holds=False, message=str(error), entries=0, head="")
    text = f"{chain.entries} entries, each bound to the one before"
    return ops.AuditVerdict(holds=True, message=text, entries=chain.entries, head=chain.head)


def list_callbacks(call: Call, asked: ops.ListDeliveries) -> Page[ops.Delivery]:
    """Callbacks of the organization."""
    with call.platform.control.read() as connection:
        found = deliveries.listed(
            connection,
            call.principal.organization,
            job_id=asked.job_id,
            state=asked.state,
            after=key_of(asked.cursor),
            limit=asked.limit + 1,
        )
    return page_of(found, asked.limit, lambda d: d.id, _delivery)


def replay_callback(call: Call, asked: ops.DeliveryId) -> ops.Delivery:
    """Send a callback once more."""
    with call.platform.control.write() as connection:
        delivery = deliveries.find(connection, call.principal.organization, asked.id)
        if delivery is None:
            raise not_found("callback", asked.id)
        deliveries.replay(connection, asked.id)
        call.audited(connection, f"callback/{asked.id}")
        again = deliveries.find(connection, call.principal.organization, asked.id)
    call.platform.work_is_waiting()
    assert again
    return _delivery(again)


def _require_reach(call: Call, role: Role) -> None:
    """Nobody gives, or takes, more than they have themselves."""
    if ROLES.index(role) < ROLES.index(call.principal.role):
        raise Problem("forbidden", f"role {call.principal.role} does not reach as far as {role}")


def _member(call: Call, connection: Connection, user_id: str) -> Member:
    role = users.role_of(connection, user_id, call.principal.organization)
    user = users.find(connection, user_id)
    if role is None or user is None:
        raise not_found("user", user_id)
    return Member(user, role)


def _organization(found: organizations.Organization) -> ops.Organization:
    return ops.Organization(id=found.id, name=found.name, created_at=moment(found.created_at))


def _user(member: Member) -> ops.User:
    user = member.user
    return ops.User(
        id=user.id,
        kind=user.kind,
        name=user.name,
        email=user.email,
        role=member.role,
        has_signed_in=user.subject is not None,
        created_at=moment(user.created_at),
    )


def _key(key: keys.ApiKey, used: float) -> ops.ApiKey:
    return ops.ApiKey(
        id=key.id,
        name=key.name,
        user_id=key.user_id,
        role=key.role,
        projects=key.projects,
        agents_may_change=key.agents_may_change,
        budget_gpu_h=key.budget_gpu_h,
        budget_money=key.budget_money,
        used_gpu_h=round(used, 6),
        expires_at=moment(key.expires_at),
        revoked_at=moment(key.revoked_at),
        created_at=moment(key.created_at),
    )


def _entry(entry: audit.AuditEntry) -> ops.AuditEntry:
    return ops.AuditEntry(
        number=entry.number,
        at=moment(entry.at),
        actor=entry.actor,
        on_behalf_of=entry.on_behalf_of,
        action=entry.action,
        object=entry.object,
        decision=entry.decision,
        reason=entry.reason,
        before=_read(entry.before),
        after=_read(entry.after),
        hash=entry.hash,
    )


def _read(text: str | None) -> Any:
    return None if text is None else json.loads(text)


def _delivery(delivery: Delivery) -> ops.Delivery:
    return ops.Delivery(
        id=delivery.id,
        job_id=delivery.job_id,
        url=delivery.url,
        event=delivery.event,
        state=delivery.state,
        attempts=delivery.attempts,
        last_status=delivery.last_status,
        last_error=delivery.last_error,
        due_at=moment(delivery.due_at),
        created_at=moment(delivery.created_at),
        delivered_at=moment(delivery.delivered_at),
    )
