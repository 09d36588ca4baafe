"""Callbacks: where they may go, and how often they are tried."""

import asyncio
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from api.context import Platform
from api.jobs.callback_addresses import AddressRefused, reachable
from api.jobs.callbacks import Callbacks
from api.settings import GatewaySettings
from resources.kubernetes_api.settings import ClusterSettings
from resources.settings import Settings
from scheduler import deliveries, jobs
from scheduler.deliveries import BACKOFF_S

PRIVATE = [
    "127.0.0.1",
    "10.1.2.3",
    "192.168.0.1",
    "172.16.5.5",
    "169.254.169.254",
    "100.64.0.1",
    "0.0.0.0",
    "192.0.0.192",
    "224.0.0.1",
    "255.255.255.255",
    "::1",
    "::",
    "fe80::1",
    "fd00::1",
    "fec0::1",
    "::ffff:127.0.0.1",
    "::127.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b:1::7f00:1",
    "2002:7f00:1::",
    "2001::1",
    "5f00::1",
    "ff02::1",
]


def resolved(host, allowed=()):
    import ipaddress

    return asyncio.run(reachable(host, 80, [ipaddress.ip_network(n) for n in allowed]))


@pytest.mark.parametrize("address", PRIVATE)
def test_an_address_that_is_not_public_is_refused(address):
    with pytest.raises(AddressRefused):
        resolved(address)


@pytest.mark.parametrize("address", ["93.184.216.34", "2606:2800:220:1::1"])
def test_a_public_address_is_reached(address):
    assert str(resolved(address)) == address


@pytest.mark.parametrize("host", ["2130706433", "0x7f000001", "0177.0.0.1", "127.1", "localhost"])
def test_a_private_address_in_other_words_is_refused(host):
    with pytest.raises((AddressRefused, OSError)):
        resolved(host)


def test_a_setting_allows_a_private_network():
    assert str(resolved("10.1.2.3", ["10.1.0.0/16"])) == "10.1.2.3"


def names(monkeypatch, *answers):
    """The name resolver, that gives one answer after the other."""
    left = list(answers)

    def resolve(host, port, *rest, **more):
        result = left.pop(0) if len(left) > 1 else left[0]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (ip, port)) for ip in result]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)


def test_a_name_with_one_private_address_among_others_is_refused(monkeypatch):
    names(monkeypatch, ["93.184.216.34", "10.0.0.1"])
    with pytest.raises(AddressRefused):
        resolved("mixed.example")


@pytest.fixture
def receiver():
    class Receiver(BaseHTTPRequestHandler):
        got: list[str] = []
        status = 204

        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            self.got.append(self.headers["Host"])
            self.send_response(self.status)
            if self.status == 302:
                self.send_header("Location", "http://127.0.0.1:9/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    Receiver.got = []
    yield Receiver, server.server_port
    server.shutdown()


@pytest.fixture
def platform(settings):
    gateway = GatewaySettings(callback_private="127.0.0.0/8")
    created = Platform(Settings(), gateway, ClusterSettings())
    created.owner()
    yield created
    created.control.close()


def owed(platform, url):
    with platform.control.write() as connection:
        job = jobs.create(
            connection,
            organization="home",
            project="p",
            kind="train",
            name="m",
            spec={},
            created_by="u",
            key_id=None,
        )
        deliveries.owe(connection, "home", job.id, url, "job.succeeded", "{}")


def sent(platform):
    """The delivery after one attempt."""
    with platform.control.write() as connection:
        (delivery,) = deliveries.claim(connection)
    asyncio.run(Callbacks(platform).send(delivery))
    with platform.control.read() as connection:
        result = deliveries.find(connection, "home", delivery.id)
    assert result
    return result


def test_a_message_goes_to_the_address_that_was_checked_and_keeps_its_name(
    platform, receiver, monkeypatch
):
    kind, port = receiver
    # The second look of a rebinding name would lead to another address.
    names(monkeypatch, ["127.0.0.1"], ["127.0.0.9"])
    owed(platform, f"http://hook.example:{port}/")
    assert sent(platform).state == "delivered"
    assert kind.got == [f"hook.example:{port}"]


def test_a_redirect_is_not_followed(platform, receiver):
    kind, port = receiver
    kind.status = 302
    owed(platform, f"http://127.0.0.1:{port}/")
    delivery = sent(platform)
    assert (delivery.state, delivery.last_status) == ("owed", 302)


def test_a_failed_attempt_is_due_again_after_a_pause(platform, receiver):
    kind, port = receiver
    kind.status = 500
    owed(platform, f"http://127.0.0.1:{port}/")
    delivery = sent(platform)
    assert (delivery.state, delivery.attempts, delivery.last_status) == ("owed", 1, 500)
    assert delivery.due_at - time.time() == pytest.approx(BACKOFF_S[0], abs=2)


def test_a_receiver_that_never_answers_is_given_up_after_the_last_pause(platform):
    owed(platform, "http://127.0.0.1:9/")
    with platform.control.write() as connection:
        (delivery,) = deliveries.claim(connection)
        last = delivery._replace(attempts=len(BACKOFF_S) + 1)
        deliveries.settle(connection, last, None, "refused")
        result = deliveries.find(connection, "home", delivery.id)
    assert result.state == "given_up"


def test_a_message_to_a_private_address_is_told_and_not_sent(settings):
    created = Platform(Settings(), GatewaySettings(), ClusterSettings())
    created.owner()
    owed(created, "http://169.254.169.254/latest/meta-data")
    delivery = sent(created)
    assert delivery.state == "owed"
    assert "no public address" in delivery.last_error
    created.control.close()
