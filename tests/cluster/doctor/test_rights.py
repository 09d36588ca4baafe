"""The doctor asks what each account may do, and says what lacks and how to give it."""

import pytest
import yaml

from resources.settings import CHECKOUT
from tests.cluster.doctor.examined import findings, the, unwell

pytest_plugins = ("tests.cluster.doctor.examined",)

ROLES = CHECKOUT / "deploy" / "kubernetes" / "base" / "accounts.yaml"
ACCOUNTS = ("orrery-gateway", "orrery-daemon", "orrery-collection", "orrery-run")
KINDS = ("Role", "RoleBinding")


def user(cluster, account):
    return f"system:serviceaccount:{cluster.namespace}:{account}"


def apply_roles(cluster):
    """Give the accounts the roles of the base, in the namespace of the test."""
    for thing in yaml.safe_load_all(ROLES.read_text()):
        if thing["kind"] in KINDS:
            cluster.api.create(thing, cluster.namespace)


@pytest.mark.parametrize(
    ("verb", "resource", "account"),
    [
        ("list", "rayjobs", "orrery-daemon"),
        ("create", "jobs", "orrery-daemon"),
        ("get", "pods/log", "orrery-daemon"),
        ("delete", "pods", "orrery-gateway"),
        ("create", "rayjobs", "orrery-run"),
        ("patch", "scaledobjects", "orrery-run"),
    ],
)
def test_the_doctor_names_the_account_that_lacks_a_right(whole, verb, resource, account):
    whole.api.deny(verb, resource, user(whole, account))

    assert unwell() == {f"rights of {account}": "missing"}
    one = the(f"rights of {account}")
    assert f"the account {account} may not {verb} {resource} in {whole.namespace}" in one.message
    assert "deploy/kubernetes/base/accounts.yaml" in one.todo
    plural, _, subresource = resource.partition("/")
    shown = f"{plural} --subresource={subresource}" if subresource else plural
    assert one.commands == (
        "kubectl apply -k deploy/kubernetes/overlays/OVERLAY",
        f"kubectl auth can-i {verb} {shown} --namespace {whole.namespace} "
        f"--as {user(whole, account)}",
    )


def test_the_gateway_is_not_asked_for_what_only_run_pods_do(whole):
    whole.api.deny("create", "rayjobs", user(whole, "orrery-gateway"))

    assert unwell() == {}


def test_the_run_account_is_the_one_that_the_settings_name(whole, monkeypatch):
    monkeypatch.setenv("ORRERY_CLUSTER_SERVICE_ACCOUNT", "trains")
    whole.api.deny("create", "rayjobs", user(whole, "trains"))

    assert unwell() == {"rights of trains": "missing"}


def test_verbs_of_one_kind_are_named_together(whole):
    whole.api.deny("*", "jobs", user(whole, "orrery-daemon"))

    assert "get, list, create, delete jobs" in the("rights of orrery-daemon").message


def test_who_may_ask_for_the_whole_cluster_alone_knows_all_rights(whole):
    whole.api.deny("create", "localsubjectaccessreviews")
    whole.api.deny("create", "rayjobs", user(whole, "orrery-run"))

    assert unwell() == {"rights of orrery-run": "missing"}


def test_an_account_that_may_not_ask_knows_its_own_rights_and_says_what_to_run_for_others(whole):
    for kind in ("localsubjectaccessreviews", "subjectaccessreviews"):
        whole.api.deny("create", kind)
    whole.api.deny("list", "events", user(whole, "orrery-gateway"))
    whole.api.act_as(user(whole, "orrery-gateway"))

    rights = {each.name: each for each in findings() if each.name.startswith("rights of")}

    states = {name: each.state for name, each in rights.items()}
    assert states == {
        "rights of orrery-gateway": "missing",
        "rights of orrery-daemon": "skipped",
        "rights of orrery-collection": "skipped",
        "rights of orrery-run": "skipped",
    }
    assert "list events" in rights["rights of orrery-gateway"].message
    assert rights["rights of orrery-daemon"].commands == (
        f"kubectl auth can-i --list --namespace {whole.namespace} "
        f"--as {user(whole, 'orrery-daemon')}",
    )


def test_a_person_who_may_not_ask_is_not_taken_for_an_account(whole):
    for kind in ("localsubjectaccessreviews", "subjectaccessreviews"):
        whole.api.deny("create", kind)
    whole.api.act_as("alice")
    whole.api.deny("delete", "jobs", "alice")

    one = the("rights of this process")

    assert unwell() == {
        **{f"rights of {account}": "skipped" for account in ACCOUNTS},
        "rights of this process": "warning",
    }
    assert "alice may not delete jobs" in one.message


def test_with_the_roles_of_the_base_every_account_has_its_rights(whole):
    apply_roles(whole)
    whole.api.act_as("cluster-admin", has_roles=True)

    assert unwell() == {}


@pytest.mark.parametrize("account", ACCOUNTS)
def test_without_its_binding_an_account_lacks_its_rights(whole, account):
    apply_roles(whole)
    whole.api.act_as("cluster-admin", has_roles=True)
    for binding in whole.api.list("RoleBinding"):
        kept = [each for each in binding["subjects"] if each["name"] != account]
        name = binding["metadata"]["name"]
        whole.api.patch("RoleBinding", name, {"subjects": kept})

    assert unwell() == {f"rights of {account}": "missing"}


def test_the_gateways_account_is_only_kept_from_what_no_role_of_a_namespace_gives(
    whole, monkeypatch, tmp_path
):
    secret = tmp_path / "secret"
    secret.write_bytes(b"0" * 32)
    monkeypatch.setenv("ORRERY_SECRET_FILE", str(secret))
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.96.0.1")
    apply_roles(whole)
    whole.api.act_as(user(whole, "orrery-gateway"), has_roles=True)

    skipped = {each.name: each for each in findings() if each.state != "ok"}

    assert {each.state for each in skipped.values()} == {"skipped"}
    assert skipped.keys() == {
        # Operators of which nothing has been asked yet.
        "KubeRay",
        "KEDA",
        "entry of KubeRay",
        "entry of Gateway controller",
        # Secrets that no pod has been started with yet, and that the gateway may not read.
        "Secret orrery-engines",
        "Secret orrery-bucket",
        "priorities",
        "room",
        "GPUs",
        "storage class",
    }
    assert all(each.commands for each in skipped.values())
