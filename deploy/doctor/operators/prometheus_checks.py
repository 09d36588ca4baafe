"""Whether Prometheus counts the requests by which KEDA scales services."""

from collections.abc import Iterator
from urllib.parse import urlsplit

import httpx

from deploy.doctor.finding import Finding, fine, missing, place, redacted, warning
from deploy.doctor.silence import is_silence, silent_at
from deploy.doctor.vantage import is_out_of_reach, out_of_reach
from resources.kubernetes_api.client import Cluster
from resources.kubernetes_api.pod_template import labels

ANSWER_S = 10.0
COUNT = 'count(predict_requests_total{pod!=""})'
"""By the label that a ScaledObject selects the pods of a version by."""
HOW = "docs/kubernetes.md, Scaling by requests"


def check_prometheus(cluster: Cluster) -> Iterator[Finding]:
    """Where KEDA scales services; a service that nobody has asked is not counted yet."""
    url = cluster.settings.prometheus_url
    if cluster.settings.autoscaler != "keda":
        return
    if not url:
        todo = f"set ORRERY_CLUSTER_PROMETHEUS_URL, as components/keda does ({HOW})"
        yield missing("Prometheus", "no address of it is named; KEDA scales no service", todo)
        return
    if is_out_of_reach(host := urlsplit(url).hostname):
        yield out_of_reach("Prometheus", host, cluster.namespace)
        return
    try:
        series = _series(url)
    except (httpx.HTTPError, httpx.InvalidURL, ValueError, LookupError, TypeError) as error:
        yield _unwell(url, error)
        return
    message = f"Prometheus answers at {place(url)}"
    selector = ",".join(f"{name}={value}" for name, value in labels("service").items())
    if series:
        yield fine("Prometheus", f"{message}; it has the requests of services in {series} series")
    elif not any(cluster.find("Deployment", selector)):
        yield fine("Prometheus", f"{message}; no service runs yet")
    else:
        yield warning(
            "Prometheus",
            f"{message}, but has no series predict_requests_total; services are not scaled, unless "
            "nobody has asked one yet",
            f"give the PodMonitor `services` the labels that this Prometheus selects, and the "
            f"namespace of Prometheus the label orrery/enters=true ({HOW})",
        )


def _series(url: str) -> int:
    """How many series there are of the requests of services."""
    query = f"{url.rstrip('/')}/api/v1/query"
    answer = httpx.get(query, params={"query": COUNT}, timeout=ANSWER_S).raise_for_status()
    series = answer.json()["data"]["result"]
    return int(series[0]["value"][1]) if series else 0


def _unwell(url: str, error: Exception) -> Finding:
    if is_silence(error):
        return silent_at("Prometheus", url)
    return missing(
        "Prometheus",
        f"nothing that can be used comes from {place(url)}: {redacted(error, [url])}",
        f"name Prometheus by ORRERY_CLUSTER_PROMETHEUS_URL ({HOW})",
    )
