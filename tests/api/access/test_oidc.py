"""Signing in by OpenID Connect, against a real provider in a process of its own."""

import asyncio
import base64
import fcntl
import hashlib
import hmac
import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from html import unescape
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, KeySet, RSAKey

from api.access.oidc import Oidc, OidcFailed
from api.processes.plan import free_port
from api.settings import GatewaySettings
from engine.parent_death import die_with_parent
from tests.api.gateway import RunningGateway, running_gateway
from tests.waiting import until

PROGRAM = Path(__file__).with_name("oidc_provider")
CLIENT = {"oidc_client_id": "orrery", "oidc_client_secret": "a secret of tests, long enough"}
ISSUER, NONCE = "https://provider.example.com", "a nonce"
SESSION, ATTEMPT = "orrery_session", "orrery_sign_in"
FORM = re.compile(r'<form[^>]* action="([^"]+)"')
PROMPT = re.compile(r'name="prompt" value="(\w+)"')
BUTTON = re.compile(r"<a class=button href='([^']+)'>Sign in with OpenID Connect")
LONGEST_WAY = 12
MINUTE_S = 60


@pytest.fixture(scope="session")
def provider_program() -> Path:
    """The provider's program beside the packages it needs, installed once for everybody."""
    if not (shutil.which("node") and shutil.which("npm")):
        pytest.skip("the provider needs node and npm")
    sources = sorted(path for path in PROGRAM.iterdir() if path.is_file())
    digest = hashlib.sha256(b"\0".join(path.read_bytes() for path in sources)).hexdigest()[:16]
    caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "orrery-tests"
    folder = caches / f"oidc-provider-{digest}"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "installed").exists():
            for path in sources:
                shutil.copy(path, folder)
            _install(folder)
            (folder / "installed").touch()
    return folder / "provider.mjs"


def _install(folder: Path) -> None:
    command = ["npm", "ci", "--omit=dev", "--ignore-scripts", "--no-audit", "--no-fund"]
    try:
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, timeout=120, check=False
        )
    except subprocess.TimeoutExpired:
        pytest.skip("npm does not install the provider within two minutes")
    if done.returncode:
        pytest.skip(f"npm does not install the provider: {done.stderr[-500:]}")


class Provider:
    """A running provider."""

    def __init__(self, process: subprocess.Popen, url: str) -> None:
        self._process, self.url = process, url

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(10)


@pytest.fixture(scope="module")
def start_provider(
    provider_program: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[str], Provider]]:
    """Starts providers; each keeps claims where it is told to."""
    log = tmp_path_factory.mktemp("provider") / "provider.log"
    with ExitStack() as stack:

        def start(place: str) -> Provider:
            port = free_port("127.0.0.1")
            with log.open("ab") as output:
                process = subprocess.Popen(
                    ["node", str(provider_program), str(port), place],
                    stdout=output,
                    stderr=output,
                    preexec_fn=die_with_parent,
                )
            created = Provider(process, f"http://127.0.0.1:{port}")
            stack.callback(created.stop)

            def answers() -> bool:
                assert process.poll() is None, log.read_text()
                try:
                    return httpx.get(f"{created.url}/.well-known/openid-configuration").is_success
                except httpx.TransportError:
                    return False

            until(answers)
            return created

        yield start


@pytest.fixture(scope="module")
def provider(start_provider) -> Provider:
    return start_provider("in-token")


@pytest.fixture(scope="module")
def oidc_gateway(provider, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    with running_gateway(
        tmp_path_factory.mktemp("gateway"), oidc_issuer=provider.url, **CLIENT
    ) as opened:
        yield opened


class Browser:
    """A person's browser; it follows no redirect by itself."""

    def __init__(self, gateway: RunningGateway) -> None:
        self._gateway = gateway
        self.http = httpx.Client(headers={"Accept": "text/html"}, timeout=30)

    def get(self, path: str) -> httpx.Response:
        return self.http.get(httpx.URL(self._gateway.url).join(path))

    def sent_back(self, login: str, start: str = "/oidc/start") -> str:
        """Where the provider sends the browser after the person has signed in there."""
        return sent_back(self.http, login, self.get(start).headers["location"])

    def sign_in(self, login: str, start: str = "/oidc/start") -> httpx.Response:
        return self.get(self.sent_back(login, start))

    def me(self) -> dict:
        return self.get("/me").raise_for_status().json()


def sent_back(http: httpx.Client, login: str, url: str) -> str:
    """Where the provider sends the browser after its forms were filled in."""
    answer = http.get(url)
    for _ in range(LONGEST_WAY):
        if answer.is_redirect:
            url = str(answer.url.join(answer.headers["location"]))
            if urlsplit(url).path == "/oidc/callback":
                return url
            answer = http.get(url)
            continue
        form, prompt = FORM.search(answer.text), PROMPT.search(answer.text)
        assert form and prompt, answer.text
        filled = {"prompt": prompt[1], "login": login, "password": "any"}
        answer = http.post(answer.url.join(unescape(form[1])), data=filled)
    raise AssertionError(f"the provider leads nowhere: {answer.url}")


@pytest.fixture
def browser(oidc_gateway) -> Browser:
    return Browser(oidc_gateway)


def invite(gateway: RunningGateway, person: str) -> str:
    """The id of a manager who has not signed in yet."""
    body = {"name": person, "role": "manager", "email": f"{person}@example.com"}
    return gateway.admin.post("/users", json=body).raise_for_status().json()["id"]


@contextmanager
def audited(gateway: RunningGateway) -> Iterator[list[dict]]:
    """Entries of the audit about signing in, newest first, written meanwhile."""
    body = {"action": "account.sign-in"}
    before = {entry["at"] for entry in gateway.admin.get("/audit", params=body).json()["items"]}
    results: list[dict] = []
    yield results
    after = gateway.admin.get("/audit", params=body).json()["items"]
    results += [entry for entry in after if entry["at"] not in before]


def is_refusal(answer: httpx.Response) -> bool:
    """Whether it is the page that says why the sign-in did not work, and lets nobody in."""
    is_page = "The sign-in did not work" in answer.text
    return answer.status_code == 403 and is_page and SESSION not in answer.cookies


def test_a_person_signs_in_and_the_session_opens_me(browser):
    answer = browser.sign_in("ada")

    assert answer.status_code == 303
    assert answer.headers["location"] == "/"
    assert browser.me()["name"] == "ada of the provider"


def test_the_session_is_kept_from_scripts_and_from_other_sites(browser):
    answer = browser.sign_in("ada")

    (cookie,) = [c for c in answer.headers.get_list("set-cookie") if c.startswith(SESSION)]
    assert "httponly" in cookie.lower()
    assert "samesite=lax" in cookie.lower()


def test_a_new_person_joins_as_a_viewer(browser, oidc_gateway):
    browser.sign_in("bob")

    me = browser.me()
    assert me["role"] == "viewer"
    assert me["organization"] == oidc_gateway.organization


def test_a_new_person_joins_with_the_role_that_is_configured(provider, tmp_path):
    with running_gateway(tmp_path, oidc_issuer=provider.url, oidc_role="user", **CLIENT) as gateway:
        browser = Browser(gateway)
        browser.sign_in("bob")

        assert browser.me()["role"] == "user"


def test_a_person_who_comes_again_is_the_same_user(browser, oidc_gateway):
    browser.sign_in("carol")

    again = Browser(oidc_gateway)
    again.sign_in("carol")
    assert again.me()["user_id"] == browser.me()["user_id"]


def test_an_invited_person_is_known_by_the_verified_address(browser, oidc_gateway):
    invited = invite(oidc_gateway, "dora")

    browser.sign_in("dora")

    me = browser.me()
    assert me["user_id"] == invited
    assert me["role"] == "manager"


def test_an_address_that_nobody_verified_links_to_nobody(browser, oidc_gateway):
    invited = invite(oidc_gateway, "emil")

    answer = browser.sign_in("mallory-as-emil")

    assert answer.status_code == 303, answer.text
    me = browser.me()
    assert me["user_id"] != invited
    assert me["role"] == "viewer"


def test_an_address_that_nobody_verified_keeps_its_owner_from_nothing(browser, oidc_gateway):
    Browser(oidc_gateway).sign_in("mallory-as-fay")

    invited = invite(oidc_gateway, "fay")
    browser.sign_in("fay")
    assert browser.me()["user_id"] == invited


def test_an_address_at_the_userinfo_endpoint_links_too(start_provider, tmp_path):
    elsewhere = start_provider("at-userinfo")
    with running_gateway(tmp_path, oidc_issuer=elsewhere.url, **CLIENT) as gateway:
        invited = invite(gateway, "gus")
        browser = Browser(gateway)

        browser.sign_in("gus")

        assert browser.me()["user_id"] == invited
        assert browser.me()["name"] == "gus of the provider"


def test_a_removed_member_is_refused(browser, oidc_gateway):
    browser.sign_in("hal")
    oidc_gateway.admin.delete(f"/users/{browser.me()['user_id']}").raise_for_status()

    assert is_refusal(Browser(oidc_gateway).sign_in("hal"))


def test_a_sign_in_is_audited(browser, oidc_gateway, provider):
    with audited(oidc_gateway) as entries:
        browser.sign_in("ines")

    (entry,) = entries
    assert entry["object"] == f"user/{browser.me()['user_id']}"
    assert f"{provider.url}|ines" in entry["reason"]


def test_a_code_is_taken_once(browser):
    back = browser.sent_back("ada")
    attempt = browser.http.cookies[ATTEMPT]
    browser.get(back)

    browser.http.cookies.clear()
    browser.http.cookies.set(ATTEMPT, attempt, domain="127.0.0.1")
    assert is_refusal(browser.get(back))


def test_another_browser_cannot_finish_a_sign_in(browser, oidc_gateway):
    back = browser.sent_back("ada")

    assert is_refusal(Browser(oidc_gateway).get(back))


def test_another_browser_with_an_attempt_of_its_own_cannot_either(browser, oidc_gateway):
    back = browser.sent_back("mallory")

    victim = Browser(oidc_gateway)
    victim.get("/oidc/start")
    assert is_refusal(victim.get(back))


def test_a_made_up_code_is_refused(browser):
    state = parse_qs(urlsplit(browser.sent_back("ada")).query)["state"][0]

    assert is_refusal(browser.get(f"/oidc/callback?state={state}&code=made-up"))


def test_a_person_who_turns_back_at_the_provider_is_told(browser):
    url = browser.get("/oidc/start").headers["location"]
    form = browser.http.get(url, follow_redirects=True).url

    answer = browser.http.get(f"{form}/abort")
    while answer.is_redirect:
        answer = browser.http.get(answer.headers["location"])

    assert is_refusal(answer)
    assert "access_denied" in answer.text


def test_words_of_the_provider_are_no_markup(browser):
    answer = browser.get("/oidc/callback?error=<script>alert(1)</script>")

    assert is_refusal(answer)
    assert "<script>" not in answer.text


def test_a_person_arrives_where_they_were_going(browser):
    wanted = "/audit?action=train&decision=denied"
    sign_in_page = browser.http.get(browser.get(wanted).next_request.url)
    (start,) = BUTTON.findall(sign_in_page.text)

    answer = browser.sign_in("ada", unescape(start))

    assert answer.headers["location"] == wanted


@pytest.mark.parametrize(
    "elsewhere",
    [
        "https://evil.example",
        "//evil.example",
        "/\\evil.example",
        "/%09/evil.example",
        "javascript:alert(1)",
    ],
)
def test_nobody_is_sent_to_another_site(browser, elsewhere):
    answer = browser.sign_in("ada", f"/oidc/start?next={elsewhere}")

    assert answer.headers["location"] == "/"


def test_a_provider_that_is_down_is_said_on_a_page(tmp_path):
    nobody = f"http://127.0.0.1:{free_port('127.0.0.1')}"
    with running_gateway(tmp_path, oidc_issuer=nobody, **CLIENT) as gateway:
        answer = Browser(gateway).get("/oidc/start")

    assert is_refusal(answer)
    assert "does not answer" in answer.text


def test_a_provider_that_goes_down_meanwhile_is_said_on_a_page(start_provider, tmp_path):
    mortal = start_provider("in-token")
    with running_gateway(tmp_path, oidc_issuer=mortal.url, **CLIENT) as gateway:
        browser = Browser(gateway)
        back = browser.sent_back("ada")

        mortal.stop()

        assert is_refusal(browser.get(back))


def test_a_provider_of_another_name_is_refused(provider):
    other = provider.url.replace("127.0.0.1", "localhost")
    oidc = Oidc(GatewaySettings(oidc_issuer=other, **CLIENT), "http://127.0.0.1:1/oidc/callback")

    with pytest.raises(OidcFailed, match="another issuer"):
        asyncio.run(oidc.begin())


@pytest.fixture(scope="module")
def signing_key() -> RSAKey:
    return RSAKey.generate_key(2048, {"kid": "one", "use": "sig", "alg": "RS256"})


@pytest.fixture
def verified(signing_key) -> Callable[..., dict]:
    """Claims of a token that is right, but for what the test says, once it was verified."""
    gateway = GatewaySettings(oidc_issuer=ISSUER, **CLIENT)
    oidc = Oidc(gateway, "http://127.0.0.1:1/oidc/callback")
    public = KeySet([signing_key]).as_dict(private=False)

    def verify(token: str | None = None, keys: dict = public, **claims) -> dict:
        token = signed(signing_key, **claims) if token is None else token
        return oidc._verified(token, keys, ISSUER, NONCE)

    return verify


def right(**claims) -> dict:
    """Claims of a token that is right but for those given; times are seconds from now."""
    given = {
        "iss": ISSUER,
        "aud": "orrery",
        "sub": "ada",
        "nonce": NONCE,
        "iat": 0,
        "exp": 5 * MINUTE_S,
        **claims,
    }
    now = int(time.time())
    moments = {name: now + given[name] for name in ("iat", "exp") if given[name] is not None}
    return {name: value for name, value in (given | moments).items() if value is not None}


def signed(key, algorithm: str = "RS256", **claims) -> str:
    header = {"alg": algorithm, "kid": "one"}
    return jwt.encode(header, right(**claims), key, algorithms=[algorithm])


def unsigned(algorithm: str) -> str:
    """A right token up to its signature, which no library would make."""
    parts = ({"alg": algorithm, "kid": "one"}, right())
    return ".".join(base64url(json.dumps(part).encode()) for part in parts)


def base64url(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def test_a_right_token_is_trusted(verified):
    assert verified()["sub"] == "ada"


@pytest.mark.parametrize("claims", [{"exp": -MINUTE_S // 2}, {"iat": MINUTE_S // 2}])
def test_a_clock_may_differ_a_little(verified, claims):
    assert verified(**claims)["sub"] == "ada"


@pytest.mark.parametrize(
    ("claim", "value"),
    [
        ("exp", -10 * MINUTE_S),
        ("exp", None),
        ("iat", 10 * MINUTE_S),
        ("nonce", "of another attempt"),
        ("nonce", None),
        ("aud", "another service"),
        ("aud", None),
        ("iss", "https://evil.example"),
        ("iss", None),
        ("sub", None),
    ],
)
def test_a_wrong_claim_is_refused(verified, claim, value):
    with pytest.raises(OidcFailed):
        verified(**{claim: value})


def test_a_token_without_signature_is_refused(verified):
    with pytest.raises(OidcFailed):
        verified(f"{unsigned('none')}.")


def test_a_token_signed_with_another_key_is_refused(verified):
    with pytest.raises(OidcFailed):
        verified(signed(RSAKey.generate_key(2048)))


def test_a_token_signed_with_a_public_key_as_if_it_were_a_secret_is_refused(verified, signing_key):
    text = unsigned("HS256")
    created = hmac.digest(signing_key.as_pem(private=False), text.encode(), "sha256")

    with pytest.raises(OidcFailed):
        verified(f"{text}.{base64url(created)}")


@pytest.mark.parametrize("token", ["", "nonsense", "a.b.c", "e30.e30.e30"])
def test_what_is_no_token_is_refused(verified, token):
    with pytest.raises(OidcFailed):
        verified(token)


def test_a_key_of_a_kind_that_nobody_knows_yet_spoils_no_other(verified, signing_key):
    known = KeySet([signing_key, ECKey.generate_key("P-256")]).as_dict(private=False)["keys"]
    unknown = {"kty": "of tomorrow", "kid": "new", "alg": "T1", "pub": "AAAA"}

    assert verified(keys={"keys": [unknown, *known]})["sub"] == "ada"
