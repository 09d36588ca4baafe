"""Who may do what: what tests have denied, and the roles of service accounts."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass

from tests.cluster.double.api.errors import ApiError, forbidden
from tests.cluster.double.api.faults import Faults
from tests.cluster.double.api.requests import Answer, Request
from tests.cluster.double.api.resource_types import BY_KIND, Object
from tests.cluster.double.api.store import Store

PREFIX = "system:serviceaccount:"
AUTHORIZATION, AUTHENTICATION = "authorization.k8s.io", "authentication.k8s.io"
REVIEWS = {
    "selfsubjectaccessreviews": (AUTHORIZATION, "SelfSubjectAccessReview"),
    "localsubjectaccessreviews": (AUTHORIZATION, "LocalSubjectAccessReview"),
    "subjectaccessreviews": (AUTHORIZATION, "SubjectAccessReview"),
    "selfsubjectreviews": (AUTHENTICATION, "SelfSubjectReview"),
}
"""Group and kind of each review by its plural."""
OF_ALL = ("selfsubjectaccessreviews", "selfsubjectreviews")
"""What everybody may ask about themselves, as `system:basic-user` lets them."""


@dataclass(frozen=True)
class Attempt:
    """Something that a user wants to do; `resource` is with its subresource."""

    user: str
    verb: str
    group: str
    resource: str
    namespace: str = ""


class Authorizer:
    """Decides of every request, and notes what was allowed. Where `has_roles`, service accounts may
    only what their roles allow."""

    def __init__(self, store: Store, faults: Faults):
        self._store, self._faults = store, faults
        self._everybody, self.has_roles = "test", False
        self._of_thread = threading.local()
        self.users: dict[str, str] = {}
        """Users by the tokens that they authenticate with."""
        self.audit: set[Attempt] = set()
        """Everything that was allowed, and done."""

    @property
    def user(self) -> str:
        """Who the request of this thread comes from."""
        return getattr(self._of_thread, "user", self._everybody)

    @user.setter
    def user(self, user: str) -> None:
        self._everybody = user

    def authenticate(self, header: str) -> None:
        """Take the request of this thread for that of the token's user; one without a token of
        anybody is everybody's."""
        token = header.removeprefix("Bearer ")
        self._of_thread.user = self.users.get(token, self._everybody)

    def may(self, attempt: Attempt) -> bool:
        """Whether the attempt is allowed."""
        if not self._faults.allowed(attempt.verb, attempt.resource, attempt.user):
            return False
        if not self.has_roles or not attempt.user.startswith(PREFIX):
            return True
        return any(_allows(rule, attempt) for rule in self._rules(attempt))

    def require(self, verb: str, group: str, resource: str, namespace: str, name: str = "") -> None:
        """Raises Forbidden unless the user of requests may do it."""
        attempt = Attempt(self.user, verb, group, resource, namespace)
        if self.may(attempt):
            self.audit.add(attempt)
            return
        qualified = f"{resource}.{group}" if group else resource
        scope = f'in the namespace "{namespace}"' if namespace else "at the cluster scope"
        why = f'User "{self.user}" cannot {verb} resource "{resource}" in API group "{group}"'
        raise forbidden(qualified, name, f"{why} {scope}")

    def review(self, request: Request) -> Answer:
        """The answer to a review."""
        plural, namespace = request.path[-1], ""
        if request.path[3:4] == ["namespaces"]:
            namespace = request.path[4]
        group, kind = REVIEWS.get(plural, ("", ""))
        is_local = kind == "LocalSubjectAccessReview"
        if group != request.path[1] or is_local != bool(namespace):
            raise ApiError(404, "the server could not find the requested resource")
        if plural not in OF_ALL:
            self.require("create", group, plural, namespace)
        review = request.document()
        if kind == "SelfSubjectReview":
            return 201, {"metadata": {}, **review, "status": {"userInfo": {"username": self.user}}}
        body = review["spec"].get("resourceAttributes") or {}
        if is_local and body.get("namespace") != namespace:
            raise ApiError(422, "spec.resourceAttributes.namespace must match metadata.namespace")
        user = self.user if plural in OF_ALL else review["spec"].get("user")
        if not user:
            raise ApiError(422, "spec.user: Required value: at least one of user or group")
        resource = "/".join(filter(None, (body.get("resource"), body.get("subresource"))))
        attempt = Attempt(
            user, body.get("verb", ""), body.get("group", ""), resource, body.get("namespace", "")
        )
        return 201, {"metadata": {}, **review, "status": {"allowed": self.may(attempt)}}

    def _rules(self, attempt: Attempt) -> Iterator[Object]:
        """Rules of the roles that are bound to the service account where it attempts something."""
        home, _, name = attempt.user.removeprefix(PREFIX).partition(":")
        bindings = self._store.items(BY_KIND["ClusterRoleBinding"])
        if attempt.namespace:
            bindings = [*bindings, *self._store.items(BY_KIND["RoleBinding"], attempt.namespace)]
        for binding in bindings:
            within = binding["metadata"].get("namespace", "")
            if any(
                subject["kind"] == "ServiceAccount"
                and subject["name"] == name
                and subject.get("namespace", within) == home
                for subject in binding.get("subjects") or ()
            ):
                reference = binding["roleRef"]
                where = within if reference["kind"] == "Role" else ""
                role = self._store.read(BY_KIND[reference["kind"]], where, reference["name"])
                yield from (role or {}).get("rules") or ()


def _allows(rule: Object, attempt: Attempt) -> bool:
    wanted = {
        "verbs": attempt.verb,
        "apiGroups": attempt.group,
        "resources": attempt.resource,
    }
    return not rule.get("resourceNames") and all(
        {value, "*"} & {*rule.get(field, ())} for field, value in wanted.items()
    )
