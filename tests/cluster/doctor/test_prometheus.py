"""The doctor asks Prometheus for what KEDA scales services by."""

from urllib.parse import unquote_plus

import pytest

from resources.kubernetes_api.pod_template import labels
from tests.cluster.doctor.examined import findings, the

pytest_plugins = ("tests.cluster.doctor.examined",)


def serve(cluster):
    """Have a service in the cluster."""
    template = {
        "metadata": {"labels": labels("service")},
        "spec": {"containers": [{"name": "predict", "image": "orrery/serving:1"}]},
    }
    cluster.api.create(
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "reader", "labels": labels("service")},
            "spec": {
                "replicas": 0,
                "selector": {"matchLabels": labels("service")},
                "template": template,
            },
        }
    )


def test_a_prometheus_that_counts_the_requests_of_services_is_well(configured, cluster, prometheus):
    serve(cluster)

    one = the("Prometheus")

    assert (one.state, "3 series" in one.message) == ("ok", True)
    assert "predict_requests_total" in unquote_plus(prometheus.queries[-1])


def test_services_that_prometheus_does_not_count_are_a_warning(configured, cluster, prometheus):
    serve(cluster)
    prometheus.series = 0

    one = the("Prometheus")

    assert one.state == "warning"
    assert "PodMonitor" in one.todo
    assert "orrery/enters=true" in one.todo


def test_without_a_service_nothing_needs_to_be_counted(configured, prometheus):
    prometheus.series = 0

    assert the("Prometheus").state == "ok"


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("", "no address of it is named"),
        ("http://127.0.0.1:9", "http://127.0.0.1:9"),
        ("http://", "nothing that can be used"),
    ],
)
def test_an_address_at_which_nobody_answers_is_named(configured, monkeypatch, url, said):
    monkeypatch.setenv("ORRERY_CLUSTER_PROMETHEUS_URL", url)

    one = the("Prometheus")

    assert (one.state, said in one.message) == ("missing", True)
    assert "ORRERY_CLUSTER_PROMETHEUS_URL" in one.todo


def test_another_server_than_prometheus_is_named(configured, prometheus):
    prometheus.status = 404

    assert "404" in the("Prometheus").message


def test_where_pods_are_scaled_by_processor_time_it_is_not_asked(
    configured, prometheus, monkeypatch
):
    monkeypatch.setenv("ORRERY_CLUSTER_AUTOSCALER", "hpa")

    names = {each.name for each in findings()}

    assert "Prometheus" not in names
    assert prometheus.queries == []
