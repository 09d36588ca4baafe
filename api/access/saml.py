"""The adapter to a SAML 2.0 identity provider, as its service provider (Web Browser SSO Profile).

timeout, retry: no call is made; the browser carries every message.
cancel: an attempt that is not finished is void after ten minutes.
duplicate: an answer is taken once, to the request that asked for it.
partial write: nobody is known before the signature over the assertion has been verified.
"""

from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from accounts.secret import new_token

BINDINGS = "urn:oasis:names:tc:SAML:2.0:bindings"
ASSERTION = "/samlp:Response/saml:Assertion"
EMAIL_ATTRIBUTES = (
    "email",
    "mail",
    "urn:oid:0.9.2342.19200300.100.1.3",
    "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/emailaddress",
)
NAME_ATTRIBUTES = (
    "displayName",
    "name",
    "cn",
    "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/name",
)


class SamlFailed(Exception):
    """The identity provider's answer cannot be trusted."""


class SamlAbsent(Exception):
    """The library for SAML is not installed."""


class Person(NamedTuple):
    """Who the identity provider says it is."""

    subject: str
    name: str
    email: str | None


class Saml:
    """One identity provider, known by its metadata."""

    def __init__(self, metadata: Path, url: str) -> None:
        try:
            from onelogin.saml2.idp_metadata_parser import OneLogin_Saml2_IdPMetadataParser
        except ImportError as error:
            raise SamlAbsent("SAML needs the extra `saml`: install orrery[saml]") from error
        idp = OneLogin_Saml2_IdPMetadataParser.parse(metadata.read_text(encoding="utf-8"))
        self._url = url
        self._settings: dict[str, Any] = {
            "strict": True,
            "sp": {
                "entityId": f"{url}/saml/metadata",
                "assertionConsumerService": {
                    "url": f"{url}/saml/acs",
                    "binding": f"{BINDINGS}:HTTP-POST",
                },
            },
            "idp": idp["idp"],
            "security": {
                "wantAssertionsSigned": True,
                "rejectDeprecatedAlgorithm": True,
                # By default the library demands a sign-in by password and excludes other methods.
                "requestedAuthnContext": False,
                "allowSingleLabelDomains": True,
            },
        }

    def begin(self) -> tuple[str, str, str]:
        """Where to send the browser, the request's id, and the state that comes back with it."""
        relay = new_token("saml")
        auth = self._auth({})
        url = auth.login(return_to=relay)
        return url, auth.get_last_request_id(), relay

    def finish(self, answer: str, request_id: str) -> Person:
        """Who the signed answer to the request is about. Raises SamlFailed."""
        from onelogin.saml2.errors import OneLogin_Saml2_Error, OneLogin_Saml2_ValidationError

        unreadable = (OneLogin_Saml2_Error, OneLogin_Saml2_ValidationError, SyntaxError, ValueError)
        auth = self._auth({"SAMLResponse": answer})
        try:
            auth.process_response(request_id=request_id)
        except unreadable as error:
            raise SamlFailed(f"the answer cannot be read: {error}") from error
        if auth.get_errors() or not auth.is_authenticated():
            reason = auth.get_last_error_reason() or ", ".join(auth.get_errors())
            raise SamlFailed(f"the answer cannot be trusted: {reason}")
        self._require_answer_to(auth, request_id)
        attributes, name_id = auth.get_attributes(), auth.get_nameid()
        email = _first(attributes, EMAIL_ATTRIBUTES) or (name_id if "@" in name_id else None)
        return Person(
            subject=f"saml:{self._settings['idp']['entityId']}|{name_id}",
            name=(_first(attributes, NAME_ATTRIBUTES) or email or name_id)[:200],
            email=email,
        )

    def _require_answer_to(self, auth: Any, request_id: str) -> None:
        """The library compares the request where one is named, and the audience where there is
        one; only the assertion is signed, and it must name both (SAML profiles, 4.1.4.2)."""
        from onelogin.saml2.utils import OneLogin_Saml2_XML as Xml

        document = Xml.to_etree(auth.get_last_response_xml())
        confirmations = Xml.query(document, f"{ASSERTION}//saml:SubjectConfirmationData")
        acs = self._settings["sp"]["assertionConsumerService"]["url"]
        is_ours = any(
            c.get("InResponseTo") == request_id and c.get("Recipient") == acs for c in confirmations
        )
        if not is_ours or auth.get_last_response_in_response_to() != request_id:
            raise SamlFailed("the answer is not one to this request")
        if not Xml.query(document, f"{ASSERTION}//saml:AudienceRestriction/saml:Audience"):
            raise SamlFailed("the answer does not say whom it is for")

    def metadata(self) -> bytes:
        """Metadata of this service provider."""
        from onelogin.saml2.settings import OneLogin_Saml2_Settings

        document = OneLogin_Saml2_Settings(
            self._settings, sp_validation_only=True
        ).get_sp_metadata()
        return document if isinstance(document, bytes) else document.encode()

    def _auth(self, form: dict[str, str]) -> Any:
        from onelogin.saml2.auth import OneLogin_Saml2_Auth

        # The provider writes the public address into its answer, and the library compares the two.
        parts = urlsplit(self._url)
        request = {
            "https": "on" if parts.scheme == "https" else "off",
            "http_host": parts.netloc,
            "script_name": "/saml/acs",
            "get_data": {},
            "post_data": form,
        }
        return OneLogin_Saml2_Auth(request, old_settings=self._settings)


def _first(attributes: dict[str, list[str]], names: tuple[str, ...]) -> str | None:
    return next((attributes[name][0] for name in names if attributes.get(name)), None)
