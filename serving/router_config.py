"""The router's configuration, as HAProxy reads it.

A service has two backends with the same slots: one of its name for REST, whose health is checked,
and one for gRPC, whose slots have the health of their fellows.
"""

import hashlib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import NamedTuple

GRPC = ".grpc"
"""What the name of a service's backend for gRPC has after that of the service."""

WRITTEN_WITHIN_S = 600
"""How long a text may be waited for and written; parts of one that is streamed come sooner."""


class Listening(NamedTuple):
    """Where the router listens, and where its files are."""

    host: str
    port: int
    grpc_port: int
    folder: Path
    sockets: str
    """Folder of its sockets, and of those of the replicas."""


def services_map(slots: Mapping[str, int]) -> str:
    """The file with the name of each service."""
    return "".join(f"{service} {service}\n" for service in sorted(slots))


def socket_of(sockets: str, service: str, slot: int) -> str:
    """Where the replica in the slot answers REST: a passage through a socket of the machine costs
    about half of one through a port."""
    # The name of a service may be longer than the path of a socket.
    return f"{sockets}/{hashlib.sha256(service.encode()).hexdigest()[:16]}.{slot}"


def configuration(
    listening: Listening, slots: Mapping[str, int], with_ports: Mapping[str, Collection[int]]
) -> str:
    """The configuration for services with so many slots each, some of which have replicas that
    answer at a port alone."""
    services = sorted(slots)
    # A request for no model in particular is answered by any service that has a replica.
    any_service = "".join(_any(service, "") for service in services)
    any_grpc = "".join(_any(service, GRPC) for service in services)
    frontends = _FRONTENDS.format(
        **listening._asdict(), any_service=any_service, any_grpc=any_grpc, grpc=GRPC
    )
    backends = "".join(
        _BACKENDS.format(
            service=s,
            servers=_servers(listening.sockets, s, slots[s], with_ports.get(s, ())),
            written_within_s=WRITTEN_WITHIN_S,
        )
        for s in services
    )
    grpc_backends = "".join(
        _GRPC_BACKEND.format(service=s, grpc=GRPC, servers=_grpc_servers(s, slots[s]))
        for s in services
    )
    head = _HEAD.format(folder=listening.folder, sockets=listening.sockets)
    return head + frontends + backends + grpc_backends


def _any(service: str, kind: str) -> str:
    return f"    use_backend {service}{kind} if of_any {{ nbsrv({service}{kind}) gt 0 }}\n"


def _servers(sockets: str, service: str, slots: int, with_ports: Collection[int]) -> str:
    addresses = [
        "127.0.0.1:1" if n in with_ports else f"unix@{socket_of(sockets, service, n)}"
        for n in range(slots)
    ]
    return "".join(f"    server s{n} {where} check disabled\n" for n, where in enumerate(addresses))


def _grpc_servers(service: str, slots: int) -> str:
    return "".join(
        f"    server s{n} 127.0.0.1:1 proto h2 track {service}/s{n}\n" for n in range(slots)
    )


# A prediction has no side effect, so a request whose replica died is sent to another. A replica hears
# of clients that leave, because what it writes for them takes long.
_HEAD = """\
global
    stats socket {sockets}/admin.sock mode 600 level admin expose-fd listeners
    stats timeout 1m
    server-state-file {folder}/servers.state
    hard-stop-after 30s
    nbthread 1
    maxconn 2000
    tune.bufsize 65536
    log stderr format raw local0 warning

defaults
    mode http
    log global
    timeout connect 200ms
    timeout client 65s
    timeout server 60s
    timeout queue 5s
    timeout http-request 10s
    timeout http-keep-alive 60s
    option http-keep-alive
    option http-buffer-request
    retries 3
    option abortonclose
    option redispatch 1
    retry-on conn-failure empty-response 503
    http-reuse safe
    load-server-state-from-file global
    default-server init-addr none

"""
# The name of the model is the first field of a message that has one, and a message may be longer
# than the buffer: its five bytes of head are cut off and the field is read of what there is, where
# `ungrpc` would want it all. An answer of gRPC has status 200 and says its outcome in a header.
_FRONTENDS = """\
frontend predictions
    bind {host}:{port}
    acl of_any path /v2 /v2/ /v2/health/live /v2/health/ready
    http-request set-var(req.service) path,field(4,/),map({folder}/services.map) if {{ path_beg /v2/models/ }}
    http-request set-var(req.service) path,field(2,/),map({folder}/services.map) unless {{ path_beg /v2/ }}
    http-request return status 404 content-type application/json string '{{"error": "no such service"}}' unless {{ var(req.service) -m found }} or of_any
    http-request set-path /%[path,field(3,/,0)] unless {{ path_beg /v2/ }} or of_any
{any_service}    use_backend %[var(req.service)] if {{ var(req.service) -m found }}
    default_backend no_service

frontend grpc
    bind {host}:{grpc_port} proto h2
    acl of_any path /inference.GRPCInferenceService/ServerLive /inference.GRPCInferenceService/ServerReady /inference.GRPCInferenceService/ServerMetadata
    acl of_any path_beg /grpc.health.v1.Health/
    acl is_compressed req.body,bytes(0,1),hex -m str 01
    http-request set-var(req.service) req.body,bytes(5),protobuf(1),map({folder}/services.map)
    http-request return status 200 hdr grpc-status 12 hdr grpc-message "got a compressed message, whose model the router cannot read; send it without compression" if is_compressed !of_any
    http-request return status 200 hdr grpc-status 5 hdr grpc-message "no such service; the name of the model is that of its service, PROJECT.SERVICE" unless {{ var(req.service) -m found }} or of_any
    use_backend %[var(req.service)]{grpc} if {{ var(req.service) -m found }}
    http-after-response set-header content-type application/grpc if {{ res.hdr(grpc-status) -m found }}
{any_grpc}    default_backend no_grpc_service

backend no_service
    http-request return status 503 content-type application/json string '{{"error": "no service answers now; try again soon"}}'

backend no_grpc_service
    http-request return status 200 hdr grpc-status 14 hdr grpc-message "no service answers now; try again soon"

"""
_BACKENDS = """\
backend {service}
    balance roundrobin
    http-error status 503 content-type application/json string '{{"error": "no replica of this service answers now; try again soon"}}'
    http-request set-timeout server {written_within_s}s if {{ path /v1/completions /v1/chat/completions }}
    option httpchk GET /readyz
    http-check expect status 200
    default-server inter 500ms fall 2 rise 1 fastinter 100ms observe layer4 error-limit 1 on-error mark-down init-addr none
{servers}
"""
# Errors of gRPC are no errors of HTTP, so a table counts the model's (INTERNAL) by slot.
_GRPC_BACKEND = """\
backend {service}{grpc}
    balance roundrobin
    http-error status 503 hdr grpc-status 14 hdr grpc-message "no replica of this service answers gRPC now; try again soon"
    stick-table type string len 8 size 1k store gpc0
    http-response track-sc0 srv_name
    http-response sc-inc-gpc0(0) if {{ res.hdr(grpc-status) -m str 13 }}
{servers}
"""
