"""Signing in by SAML 2.0: an identity provider made here, and a browser that carries messages."""

import base64
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import NamedTuple
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

from tests.api.gateway import RunningGateway, running_gateway

constants = pytest.importorskip("onelogin.saml2.constants", reason="needs the extra `saml`")
utils = pytest.importorskip("onelogin.saml2.utils", reason="needs the extra `saml`")

ENTITY, SIGN_ON = "https://idp.example.com/metadata", "https://idp.example.com/sign-on"
SESSION = "orrery_session"
MINUTE = timedelta(minutes=1)
MARKUP = {
    "assertion": "urn:oasis:names:tc:SAML:2.0:assertion",
    "protocol": "urn:oasis:names:tc:SAML:2.0:protocol",
    "metadata": "urn:oasis:names:tc:SAML:2.0:metadata",
}
UNSPECIFIED = "urn:oasis:names:tc:SAML:1.1:nameid-format:unspecified"
BASIC = "urn:oasis:names:tc:SAML:2.0:attrname-format:basic"
IN_RESPONSE = re.compile(r' InResponseTo="[^"]+"')


class Pair(NamedTuple):
    """A private key, and the certificate that the world knows it by."""

    key: str
    certificate: str


def new_pair() -> Pair:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "idp.example.com")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(
        pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return Pair(private.decode(), certificate.public_bytes(pem).decode())


@dataclass(frozen=True)
class AuthnRequest:
    """A request that a browser carried to the identity provider."""

    id: str
    acs: str
    service: str
    relay: str


class IdentityProvider:
    """Answers requests as it is told to."""

    def __init__(self) -> None:
        self._pair = new_pair()

    @property
    def metadata(self) -> str:
        certificate = "".join(self._pair.certificate.splitlines()[1:-1])
        return f"""
<md:EntityDescriptor xmlns:md="{MARKUP["metadata"]}" entityID="{ENTITY}">
  <md:IDPSSODescriptor protocolSupportEnumeration="{MARKUP["protocol"]}">
    <md:KeyDescriptor use="signing">
      <ds:KeyInfo xmlns:ds="http://www.w3.org/2000/09/xmldsig#">
        <ds:X509Data><ds:X509Certificate>{certificate}</ds:X509Certificate></ds:X509Data>
      </ds:KeyInfo>
    </md:KeyDescriptor>
    <md:SingleSignOnService Location="{SIGN_ON}"
      Binding="urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect"/>
  </md:IDPSSODescriptor>
</md:EntityDescriptor>"""

    def login(self, url: str) -> AuthnRequest:
        """What the address that a browser was sent to asks for."""
        assert url.startswith(f"{SIGN_ON}?")
        query = parse_qs(urlsplit(url).query)
        login = zlib.decompress(base64.b64decode(query["SAMLRequest"][0]), -15).decode()
        (id,) = re.findall(r'\bID="([^"]+)"', login)
        (acs,) = re.findall(r'\bAssertionConsumerServiceURL="([^"]+)"', login)
        (service,) = re.findall(r"<saml:Issuer>([^<]+)<", login)
        return AuthnRequest(id, acs, service, query["RelayState"][0])

    def assertion(
        self,
        login: AuthnRequest,
        person: str,
        *,
        audience: str | None = None,
        valid: tuple[timedelta, timedelta] = (-MINUTE, 5 * MINUTE),
    ) -> str:
        """A statement about the person, not yet signed; valid between two times from now."""
        now = datetime.now(UTC)
        since, until = moment(now + valid[0]), moment(now + valid[1])
        return f"""\
<saml:Assertion xmlns:saml="{MARKUP["assertion"]}" ID="_{uuid4().hex}" Version="2.0" \
IssueInstant="{moment(now)}">\
<saml:Issuer>{ENTITY}</saml:Issuer>\
<saml:Subject><saml:NameID Format="{UNSPECIFIED}">{person}</saml:NameID>\
<saml:SubjectConfirmation Method="urn:oasis:names:tc:SAML:2.0:cm:bearer">\
<saml:SubjectConfirmationData NotOnOrAfter="{until}" Recipient="{login.acs}" \
InResponseTo="{login.id}"/></saml:SubjectConfirmation></saml:Subject>\
<saml:Conditions NotBefore="{since}" NotOnOrAfter="{until}"><saml:AudienceRestriction>\
<saml:Audience>{audience or login.service}</saml:Audience>\
</saml:AudienceRestriction></saml:Conditions>\
<saml:AuthnStatement AuthnInstant="{moment(now)}"><saml:AuthnContext>\
<saml:AuthnContextClassRef>urn:oasis:names:tc:SAML:2.0:ac:classes:Password\
</saml:AuthnContextClassRef></saml:AuthnContext></saml:AuthnStatement>\
<saml:AttributeStatement>{attribute("mail", f"{person}@example.com")}\
{attribute("displayName", f"{person} of the provider")}</saml:AttributeStatement>\
</saml:Assertion>"""

    def signed(self, assertion: str, pair: Pair | None = None, **algorithms: str) -> str:
        pair = pair or self._pair
        created = utils.OneLogin_Saml2_Utils.add_sign(
            assertion, pair.key, pair.certificate, **algorithms
        )
        return created.decode() if isinstance(created, bytes) else created

    def answer(self, login: AuthnRequest, assertion: str) -> str:
        """The answer that carries the assertion."""
        return f"""\
<samlp:Response xmlns:samlp="{MARKUP["protocol"]}" xmlns:saml="{MARKUP["assertion"]}" \
ID="_{uuid4().hex}" Version="2.0" IssueInstant="{moment(datetime.now(UTC))}" \
Destination="{login.acs}" InResponseTo="{login.id}">\
<saml:Issuer>{ENTITY}</saml:Issuer><samlp:Status>\
<samlp:StatusCode Value="urn:oasis:names:tc:SAML:2.0:status:Success"/></samlp:Status>\
{assertion}</samlp:Response>"""

    def right_answer(self, login: AuthnRequest, person: str = "ada", **more) -> str:
        return self.answer(login, self.signed(self.assertion(login, person, **more)))


def attribute(name: str, value: str) -> str:
    return (
        f'<saml:Attribute Name="{name}" NameFormat="{BASIC}">'
        f"<saml:AttributeValue>{value}</saml:AttributeValue></saml:Attribute>"
    )


def moment(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")


class Browser:
    """A person's browser; it follows no redirect by itself."""

    def __init__(self, gateway: RunningGateway) -> None:
        self.http = httpx.Client(base_url=gateway.url, headers={"Accept": "text/html"}, timeout=30)

    def start(self, next: str = "") -> str:
        """The identity provider's address that the browser is sent to."""
        answer = self.http.get("/saml/start", params={"next": next})
        assert answer.status_code == 303, answer.text
        return answer.headers["location"]

    def post(self, answer: str | bytes, relay: str) -> httpx.Response:
        """Carry the answer, as the identity provider's page makes a browser do."""
        content = answer.encode() if isinstance(answer, str) else answer
        form = {"SAMLResponse": base64.b64encode(content).decode(), "RelayState": relay}
        headers = {"Origin": "https://idp.example.com", "Sec-Fetch-Site": "cross-site"}
        return self.http.post("/saml/acs", data=form, headers=headers)

    def sign_in(self, idp: IdentityProvider, person: str = "ada", next: str = "") -> httpx.Response:
        login = idp.login(self.start(next))
        return self.post(idp.right_answer(login, person), login.relay)

    def me(self) -> dict:
        return self.http.get("/me").raise_for_status().json()


@pytest.fixture(scope="module")
def idp() -> IdentityProvider:
    return IdentityProvider()


@pytest.fixture(scope="module")
def stranger() -> Pair:
    """A key that the metadata does not name."""
    return new_pair()


@pytest.fixture(scope="module")
def saml_gateway(idp, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    folder = tmp_path_factory.mktemp("gateway")
    metadata = folder / "idp.xml"
    metadata.write_text(idp.metadata)
    with running_gateway(folder, saml_idp_metadata=metadata, saml_role="user") as opened:
        yield opened


@pytest.fixture
def browser(saml_gateway) -> Browser:
    return Browser(saml_gateway)


@pytest.fixture
def login(browser, idp) -> AuthnRequest:
    """What the browser asks the identity provider for."""
    return idp.login(browser.start())


def is_refusal(answer: httpx.Response) -> bool:
    """Whether it is the page that says why the sign-in did not work, and lets nobody in."""
    is_page = "The sign-in did not work" in answer.text
    return answer.status_code == 403 and is_page and SESSION not in answer.cookies


def test_a_signed_answer_lets_the_person_in(browser, idp):
    answer = browser.sign_in(idp)

    assert answer.status_code == 303, answer.text
    assert browser.me()["name"] == "ada of the provider"


def test_a_new_person_joins_with_the_role_that_is_configured(browser, idp):
    browser.sign_in(idp, "bob")

    assert browser.me()["role"] == "user"


def test_a_person_who_comes_again_is_the_same_user(browser, idp, saml_gateway):
    browser.sign_in(idp, "carol")

    again = Browser(saml_gateway)
    again.sign_in(idp, "carol")
    assert again.me()["user_id"] == browser.me()["user_id"]


def test_an_invited_person_is_known_by_the_address(browser, idp, saml_gateway):
    body = {"name": "dora", "role": "manager", "email": "dora@example.com"}
    invited = saml_gateway.admin.post("/users", json=body).raise_for_status().json()

    browser.sign_in(idp, "dora")

    assert browser.me()["user_id"] == invited["id"]
    assert browser.me()["role"] == "manager"


def test_a_removed_member_is_refused(browser, idp, saml_gateway):
    browser.sign_in(idp, "hal")
    saml_gateway.admin.delete(f"/users/{browser.me()['user_id']}").raise_for_status()

    assert is_refusal(Browser(saml_gateway).sign_in(idp, "hal"))


def test_a_person_arrives_where_they_were_going(browser, idp):
    wanted = "/audit?action=train&decision=denied"

    assert browser.sign_in(idp, next=wanted).headers["location"] == wanted


@pytest.mark.parametrize(
    "elsewhere", ["https://evil.example", "//evil.example", "/\\evil.example", "/\t/evil.example"]
)
def test_nobody_is_sent_to_another_site(browser, idp, elsewhere):
    assert browser.sign_in(idp, next=elsewhere).headers["location"] == "/"


def test_a_changed_answer_is_refused(browser, idp, login):
    changed = idp.right_answer(login, "mallory").replace("mallory", "ada")

    assert is_refusal(browser.post(changed, login.relay))


def test_an_unsigned_answer_is_refused(browser, idp, login):
    unsigned = idp.answer(login, idp.assertion(login, "ada"))

    assert is_refusal(browser.post(unsigned, login.relay))


def test_an_answer_signed_by_a_stranger_is_refused(browser, idp, login, stranger):
    forged = idp.answer(login, idp.signed(idp.assertion(login, "ada"), stranger))

    assert is_refusal(browser.post(forged, login.relay))


def test_a_signature_by_an_outdated_algorithm_is_refused(browser, idp, login):
    outdated = {
        "sign_algorithm": constants.OneLogin_Saml2_Constants.RSA_SHA1,
        "digest_algorithm": constants.OneLogin_Saml2_Constants.SHA1,
    }
    weak = idp.answer(login, idp.signed(idp.assertion(login, "ada"), **outdated))

    assert is_refusal(browser.post(weak, login.relay))


@pytest.mark.parametrize("is_first", [True, False])
def test_an_unsigned_assertion_beside_a_signed_one_is_refused(browser, idp, login, is_first):
    own = idp.signed(idp.assertion(login, "mallory"))
    forged = idp.assertion(login, "ada")
    both = forged + own if is_first else own + forged

    assert is_refusal(browser.post(idp.answer(login, both), login.relay))


def test_a_signature_over_another_part_of_the_answer_is_refused(browser, idp, login):
    own = idp.signed(idp.assertion(login, "mallory"))
    extensions = f"<samlp:Extensions>{own}</samlp:Extensions>"
    wrapped = idp.answer(login, idp.assertion(login, "ada")).replace(
        "<samlp:Status>", f"{extensions}<samlp:Status>"
    )

    assert is_refusal(browser.post(wrapped, login.relay))


def test_an_answer_to_no_request_is_refused(browser, idp, login):
    assert is_refusal(browser.post(idp.right_answer(login), "made up"))


def test_an_answer_to_another_request_is_refused(browser, idp, login):
    another = idp.login(browser.start())

    assert is_refusal(browser.post(idp.right_answer(another), login.relay))


def test_an_answer_that_names_no_request_is_refused(browser, idp, login):
    unasked = IN_RESPONSE.sub("", idp.assertion(login, "ada"))
    answer = IN_RESPONSE.sub("", idp.answer(login, idp.signed(unasked)))

    assert is_refusal(browser.post(answer, login.relay))


def test_an_answer_is_taken_once(browser, idp, login, saml_gateway):
    answer = idp.right_answer(login)
    browser.post(answer, login.relay)

    assert is_refusal(Browser(saml_gateway).post(answer, login.relay))


@pytest.mark.parametrize("kept", ["id of the request", "nothing", "id of the other request"])
def test_a_used_assertion_in_another_answer_is_refused(browser, idp, login, saml_gateway, kept):
    assertion = idp.signed(idp.assertion(login, "ada"))
    browser.post(idp.answer(login, assertion), login.relay)

    thief = Browser(saml_gateway)
    another = idp.login(thief.start())
    # The signature is over the assertion, so whoever holds one writes the rest at will.
    answer = {
        "id of the request": idp.answer(login, assertion),
        "nothing": IN_RESPONSE.sub("", idp.answer(login, ""), count=1).replace(
            "</samlp:Response>", f"{assertion}</samlp:Response>"
        ),
        "id of the other request": idp.answer(another, assertion),
    }[kept]
    assert is_refusal(thief.post(answer, another.relay))


@pytest.mark.parametrize("valid", [(-60 * MINUTE, -30 * MINUTE), (30 * MINUTE, 60 * MINUTE)])
def test_an_assertion_out_of_its_time_is_refused(browser, idp, login, valid):
    assert is_refusal(browser.post(idp.right_answer(login, valid=valid), login.relay))


def test_an_assertion_for_another_service_is_refused(browser, idp, login):
    answer = idp.right_answer(login, audience="https://another.example.com/metadata")

    assert is_refusal(browser.post(answer, login.relay))


@pytest.mark.parametrize(
    "content",
    [
        b"no markup",
        b"<a/>",
        b"\xff\xfe\x00",
        b'<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><a>&b;</a>',
    ],
    ids=["no markup", "other markup", "bytes", "entities"],
)
def test_what_is_no_answer_is_refused(browser, login, content):
    assert is_refusal(browser.post(content, login.relay))


def test_the_metadata_says_where_answers_go(browser, saml_gateway):
    answer = browser.http.get("/saml/metadata")

    assert answer.headers["content-type"].startswith("application/samlmetadata+xml")
    assert f'entityID="{saml_gateway.url}/saml/metadata"' in answer.text
    assert f'Location="{saml_gateway.url}/saml/acs"' in answer.text
