"""How people come in: one-time links, OpenID Connect, SAML; and out again."""

from typing import Annotated

from fastapi import APIRouter, Form, Request, Response
from fastapi.responses import RedirectResponse
from starlette.concurrency import run_in_threadpool

from accounts import audit, sessions, users
from accounts.first_start import SIGN_IN
from accounts.sessions import SignInRefused
from api.access.identity import COOKIE, Identity, credentials_in
from api.access.oidc import Oidc, OidcFailed
from api.access.saml import Saml, SamlFailed
from api.context import Platform
from api.http import pages

ATTEMPT_COOKIE = "orrery_sign_in"
LONGEST_PATH = 500


class SignIn:
    """Routes of signing in and out."""

    def __init__(self, platform: Platform, identity: Identity) -> None:
        self._platform, self._identity = platform, identity
        gateway, url = platform.gateway, platform.settings.url
        self._oidc = Oidc(gateway, f"{url}/oidc/callback") if gateway.oidc_issuer else None
        metadata = gateway.saml_idp_metadata
        self._saml = Saml(metadata, url) if metadata else None
        is_https = url.startswith("https://")
        self._is_secure = is_https if gateway.secure_cookies is None else gateway.secure_cookies

    def router(self) -> APIRouter:
        """The routes; none of them is part of the API's document."""
        router = APIRouter(include_in_schema=False)
        router.add_api_route("/sign-in", self.enter, methods=["GET"])
        router.add_api_route("/sign-out", self.leave, methods=["POST"])
        if self._oidc:
            router.add_api_route("/oidc/start", self.start_oidc, methods=["GET"])
            router.add_api_route("/oidc/callback", self.finish_oidc, methods=["GET"])
        if self._saml:
            router.add_api_route("/saml/start", self.start_saml, methods=["GET"])
            router.add_api_route("/saml/acs", self.finish_saml, methods=["POST"])
            router.add_api_route("/saml/metadata", self.saml_metadata, methods=["GET"])
        return router

    async def enter(self, token: str = "", next: str = "") -> Response:
        """Sign in with a one-time link, or show the ways to."""
        if not token:
            providers = [("OpenID Connect", "/oidc/start")] if self._oidc else []
            providers += [("SAML", "/saml/start")] if self._saml else []
            return pages.sign_in(_inside(next), providers)
        try:
            session = await run_in_threadpool(self._by_link, token)
        except SignInRefused as error:
            return pages.refused(str(error))
        return self._entered(session, next)

    async def leave(self, request: Request) -> Response:
        """End the session."""
        credentials = credentials_in(request.scope["headers"])
        if credentials and credentials.is_session:
            digest = self._platform.secret.digest(credentials.token)

            def ended() -> None:
                with self._platform.control.write() as connection:
                    sessions.end(connection, digest)

            await run_in_threadpool(ended)
            self._identity.forget()
        answer = RedirectResponse("/sign-in", 303)
        answer.delete_cookie(COOKIE)
        return answer

    async def start_oidc(self, next: str = "") -> Response:
        """Send the browser to the provider."""
        assert self._oidc
        try:
            attempt = await self._oidc.begin()
        except OidcFailed as error:
            return pages.refused(str(error))
        content = {"verifier": attempt.verifier, "nonce": attempt.nonce, "next": _inside(next)}
        await run_in_threadpool(self._offer, "oidc", content, attempt.state)
        answer = RedirectResponse(attempt.url, 303)
        self._set_cookie(answer, ATTEMPT_COOKIE, attempt.state, int(sessions.ATTEMPT_S))
        return answer

    async def finish_oidc(
        self, request: Request, state: str = "", code: str = "", error: str = ""
    ) -> Response:
        """The provider sends the browser back with a code."""
        assert self._oidc
        # The cookie binds the sign-in to the browser that began it: otherwise a link could sign
        # somebody in as another person.
        if error or not code or not state or request.cookies.get(ATTEMPT_COOKIE) != state:
            return pages.refused(
                f"the provider answered {error[:200]!r}"
                if error
                else "this sign-in was not begun in this browser"
            )
        try:
            content = await run_in_threadpool(self._take, "oidc", state)
            person = await self._oidc.finish(code, content["verifier"], content["nonce"])
        except (SignInRefused, OidcFailed) as failure:
            return pages.refused(str(failure))
        gateway = self._platform.gateway
        session = await run_in_threadpool(
            self._arrive,
            person.subject,
            person.name,
            person.email,
            person.email_is_verified,
            gateway.oidc_role,
            "oidc",
        )
        if session is None:
            return pages.refused("your account is disabled, or belongs to no organization")
        return self._entered(session, content["next"])

    async def start_saml(self, next: str = "") -> Response:
        """Send the browser to the identity provider."""
        assert self._saml
        url, request_id, relay = await run_in_threadpool(self._saml.begin)
        content = {"request_id": request_id, "next": _inside(next)}
        await run_in_threadpool(self._offer, "saml", content, relay)
        answer = RedirectResponse(url, 303)
        if self._is_secure:
            # The answer is posted from another site; only a secure cookie may come along.
            lasts_s = int(sessions.ATTEMPT_S)
            answer.set_cookie(
                ATTEMPT_COOKIE, relay, lasts_s, secure=True, httponly=True, samesite="none"
            )
        return answer

    async def finish_saml(
        self,
        request: Request,
        SAMLResponse: Annotated[str, Form(max_length=500_000)],
        RelayState: Annotated[str, Form(max_length=200)] = "",
    ) -> Response:
        """The identity provider has the browser post its signed answer."""
        assert self._saml
        if self._is_secure and request.cookies.get(ATTEMPT_COOKIE) != RelayState:
            return pages.refused("this sign-in was not begun in this browser")
        try:
            content = await run_in_threadpool(self._take, "saml", RelayState)
            person = await run_in_threadpool(self._saml.finish, SAMLResponse, content["request_id"])
        except (SignInRefused, SamlFailed) as failure:
            return pages.refused(str(failure))
        role = self._platform.gateway.saml_role
        session = await run_in_threadpool(
            self._arrive, person.subject, person.name, person.email, True, role, "saml"
        )
        if session is None:
            return pages.refused("your account is disabled, or belongs to no organization")
        return self._entered(session, content["next"])

    async def saml_metadata(self) -> Response:
        """What an identity provider must know of this service."""
        assert self._saml
        return Response(self._saml.metadata(), media_type="application/samlmetadata+xml")

    def _by_link(self, token: str) -> sessions.Session:
        with self._platform.control.write() as connection:
            content = sessions.take(connection, self._platform.secret, "link", token)
            user_id, organization = content["user_id"], content["organization"]
            if users.role_of(connection, user_id, organization) is None:
                raise SignInRefused("the link is for somebody who is no member any more")
            self._note(connection, user_id, organization, "by a one-time link")
            return sessions.start(connection, self._platform.secret, user_id, organization)

    def _arrive(
        self,
        subject: str,
        name: str,
        email: str | None,
        email_is_verified: bool,
        role: users.Role,
        how: str,
    ) -> sessions.Session | None:
        from accounts import organizations

        with self._platform.control.write() as connection:
            user = users.signed_in(
                connection,
                subject,
                name,
                email,
                email_is_verified=email_is_verified,
                organization=self._platform.first_organization,
                role=role,
            )
            mine = organizations.of_user(connection, user.id)
            if user.disabled_at is not None or not mine:
                return None
            self._note(connection, user.id, mine[0].id, f"by {how} as {subject}")
            return sessions.start(connection, self._platform.secret, user.id, mine[0].id)

    def _note(self, connection, user_id: str, organization: str, how: str) -> None:  # noqa: ANN001
        audit.record(
            connection,
            organization=organization,
            actor=user_id,
            action=SIGN_IN,
            object=f"user/{user_id}",
            reason=how,
        )

    def _offer(self, kind: sessions.SignIn, content: dict, token: str) -> None:
        with self._platform.control.write() as connection:
            secret = self._platform.secret
            sessions.offer(connection, secret, kind, content, sessions.ATTEMPT_S, token)

    def _take(self, kind: sessions.SignIn, token: str) -> dict:
        with self._platform.control.write() as connection:
            return sessions.take(connection, self._platform.secret, kind, token)

    def _entered(self, session: sessions.Session, next_path: str) -> Response:
        answer = RedirectResponse(_inside(next_path) or "/", 303)
        self._set_cookie(answer, COOKIE, session.token, int(sessions.SESSION_S))
        answer.delete_cookie(ATTEMPT_COOKIE)
        return answer

    def _set_cookie(self, answer: Response, name: str, value: str, max_age_s: int) -> None:
        answer.set_cookie(
            name,
            value,
            max_age=max_age_s,
            path="/",
            secure=self._is_secure,
            httponly=True,
            samesite="lax",
        )


def _inside(path: str) -> str:
    """The path, if it leads to a page of ours; an open redirect would help to deceive."""
    is_ours = path.startswith("/") and not path.startswith(("//", "/\\"))
    has_controls = any(ord(letter) < 32 for letter in path)
    return path if is_ours and not has_controls and len(path) <= LONGEST_PATH else ""
