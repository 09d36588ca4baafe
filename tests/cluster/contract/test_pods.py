"""What a pod's processes may expect, and what its status tells."""

import re
import shutil
import threading
import time
from datetime import datetime

import psutil
import pytest
from kubernetes.client import ApiException

from tests.cluster.kube import SLEEP, Kube, config_map, container, pod
from tests.waiting import until

SERVER = """
import http.server, os, socketserver, time
class H(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if os.path.exists("/flags/" + self.path[1:]) else 503)
        self.end_headers()
    def log_message(self, *a): pass
if READY: open("/flags/ready", "w")
http.server.HTTPServer((os.environ["IP"], 8080), H).serve_forever()
"""


def served(**probes) -> dict:
    """Options of a pod with a server whose paths answer while a flag of their name stands."""
    address = {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}
    return {
        "env": [address],
        "ports": [{"name": "http", "containerPort": 8080}],
        "volumeMounts": [{"name": "flags", "mountPath": "/flags"}],
        "spec": {"volumes": [{"name": "flags", "emptyDir": {}}]},
        **probes,
    }


def code(ready: bool) -> str:
    return SERVER.replace("READY", str(ready))


def probe(path: str, **options) -> dict:
    return {"httpGet": {"path": f"/{path}", "port": "http"}, "periodSeconds": 1, **options}


def test_a_pod_runs_to_its_end(kube: Kube):
    kube.create_pod("p", "print('done')")
    until(lambda: kube.phase("p") == "Succeeded")
    ended = kube.container("p").state.terminated
    assert (ended.exit_code, ended.reason) == (0, "Completed")
    assert kube.log("p") == "done\n"


def test_an_exit_code_fails_a_pod(kube: Kube):
    kube.create_pod("p", "raise SystemExit(3)")
    until(lambda: kube.phase("p") == "Failed")
    ended = kube.container("p").state.terminated
    assert (ended.exit_code, ended.reason) == (3, "Error")


def test_a_running_pod_is_ready_and_has_an_address(kube: Kube):
    kube.create_pod("p", SLEEP)
    until(lambda: kube.phase("p") == "Running")
    until(lambda: kube.container("p").ready)
    status = kube.pod("p").status
    held = {each.type for each in status.conditions if each.status == "True"}
    assert {"PodScheduled", "Initialized", "ContainersReady", "Ready"} <= held
    assert status.pod_ip and kube.pod("p").spec.node_name


def test_variables_come_from_where_they_are_declared(kube: Kube):
    kube.core.create_namespaced_config_map(kube.namespace, config_map("c", {"COLOR": "red"}))
    secret = {"metadata": {"name": "s"}, "stringData": {"token": "hush"}}
    kube.core.create_namespaced_secret(kube.namespace, secret)
    label = {"fieldRef": {"fieldPath": "metadata.labels['team']"}}
    env = [
        {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "s", "key": "token"}}},
        {"name": "TEAM", "valueFrom": label},
        {"name": "BOTH", "value": "$(TOKEN)-$(TEAM)-$$(TEAM)-$(NONE)"},
    ]
    kube.create_pod(
        "p",
        "import os; print(os.environ['COLOR'], os.environ['BOTH'])",
        labels={"team": "blue"},
        env=env,
        envFrom=[{"configMapRef": {"name": "c"}}],
    )
    until(lambda: kube.phase("p") == "Succeeded")
    assert kube.log("p") == "red hush-blue-$(TEAM)-$(NONE)\n"


def test_containers_share_volumes_in_their_order(kube: Kube):
    kube.core.create_namespaced_config_map(kube.namespace, config_map("c", {"a.txt": "hello"}))
    mounts = [
        {"name": "work", "mountPath": "/work"},
        {"name": "conf", "mountPath": "/etc/conf"},
    ]
    copy = "open('/work/b.txt', 'w').write(open('/etc/conf/a.txt').read())"
    first = {**container(copy, volumeMounts=mounts), "name": "first"}
    volumes = [{"name": "work", "emptyDir": {}}, {"name": "conf", "configMap": {"name": "c"}}]
    spec = {"initContainers": [first], "volumes": volumes}
    kube.create_pod("p", "print(open('/work/b.txt').read())", spec=spec, volumeMounts=mounts)
    until(lambda: kube.phase("p") == "Succeeded")
    assert kube.log("p") == "hello\n"


def test_a_failing_init_container_fails_its_pod(kube: Kube):
    first = {**container("raise SystemExit(1)"), "name": "first"}
    kube.create_pod("p", SLEEP, spec={"initContainers": [first]})
    until(lambda: kube.phase("p") == "Failed")


def test_a_log_is_followed_to_its_end(kube: Kube):
    kube.create_pod("p", "import time; print(1); time.sleep(0.5); print(2)")
    until(lambda: kube.phase("p") != "Pending")
    assert kube.log("p", follow=True) == "1\n2\n"
    assert until(lambda: kube.phase("p") == "Succeeded", 10)


def test_log_lines_have_times_and_can_be_cut_by_them(kube: Kube):
    kube.create_pod("p", "import time; print(1); time.sleep(4); print(2); print(3)")
    until(lambda: kube.phase("p") == "Succeeded")
    lines = kube.log("p", timestamps=True).splitlines()
    assert all(re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z \d$", line) for line in lines)
    ago_s = time.time() - datetime.fromisoformat(lines[1].split()[0]).timestamp()
    # Between the first and the second line, with a second for the call and for clocks.
    assert kube.log("p", since_seconds=int(ago_s) + 2) == "2\n3\n"
    assert kube.log("p", tail_lines=1) == "3\n"


def test_a_crash_is_restarted_and_its_log_kept(kube: Kube):
    crash = "import time; print('crash'); time.sleep(0.2); raise SystemExit(1)"
    kube.create_pod("p", crash, spec={"restartPolicy": "Always"})
    until(lambda: kube.container("p") and kube.container("p").restart_count >= 2)
    until(lambda: kube.container("p").state.waiting)
    assert kube.container("p").state.waiting.reason == "CrashLoopBackOff"
    assert kube.container("p").last_state.terminated.exit_code == 1
    assert kube.log("p", previous=True) == "crash\n"


def test_a_missing_image_leaves_its_pod_pending(kube: Kube):
    kube.create_pod("p", SLEEP, image="registry.invalid/none:1")
    waiting = ("ErrImagePull", "ImagePullBackOff")
    until(lambda: kube.container("p") and kube.container("p").state.waiting.reason in waiting)
    until(lambda: kube.container("p").state.waiting.reason == "ImagePullBackOff")
    assert kube.phase("p") == "Pending"
    assert "Failed" in kube.events("p")
    with pytest.raises(ApiException, match="waiting to start"):
        kube.core.read_namespaced_pod_log("p", kube.namespace)


def test_a_missing_secret_holds_a_container_back(kube: Kube):
    env = [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "late", "key": "a"}}}]
    kube.create_pod("p", "import os; print(os.environ['A'])", env=env)
    reason = "CreateContainerConfigError"
    until(lambda: kube.container("p") and kube.container("p").state.waiting.reason == reason)
    secret = {"metadata": {"name": "late"}, "stringData": {"a": "1"}}
    kube.core.create_namespaced_secret(kube.namespace, secret)
    until(lambda: kube.phase("p") == "Succeeded")


def test_no_node_fits_an_unknown_selector(kube: Kube):
    kube.create_pod("p", SLEEP, spec={"nodeSelector": {"orrery.test/none": "yes"}})
    until(lambda: "FailedScheduling" in kube.events("p"))
    assert kube.phase("p") == "Pending"
    (scheduled,) = [c for c in kube.pod("p").status.conditions if c.type == "PodScheduled"]
    assert (scheduled.status, scheduled.reason) == ("False", "Unschedulable")


def test_a_pod_is_ready_once_its_probe_passes(kube: Kube):
    kube.create_pod("p", code(False), **served(readinessProbe=probe("ready")))
    until(lambda: kube.phase("p") == "Running")
    assert not kube.container("p").ready
    kube.create_pod("q", code(True), **served(readinessProbe=probe("ready")))
    until(lambda: kube.container("q") and kube.container("q").ready)


def test_a_pod_that_is_not_alive_is_restarted(kube: Kube):
    options = served(livenessProbe=probe("missing", failureThreshold=1))
    options["spec"]["restartPolicy"] = "Always"
    kube.create_pod("p", code(True), **options)
    until(lambda: kube.container("p") and kube.container("p").restart_count >= 1)


def test_a_command_probes_startup(kube: Kube):
    check = {"exec": {"command": ["python", "-c", "pass"]}, "periodSeconds": 1}
    kube.create_pod("p", SLEEP, startupProbe=check)
    until(lambda: kube.container("p") and kube.container("p").started)


def test_a_deleted_pod_is_asked_to_stop(kube: Kube):
    quit_well = "import signal, time; signal.signal(15, lambda *_: (print('bye'), exit()))\n"
    wait = "print('up')\nwhile True: time.sleep(1)"
    kube.create_pod("p", quit_well + wait, spec={"terminationGracePeriodSeconds": 20})
    until(lambda: kube.phase("p") == "Running" and kube.log("p"))
    follower: list[str] = []
    thread = threading.Thread(target=lambda: follower.append(kube.log("p", follow=True)))
    thread.start()
    until(lambda: thread.ident)
    time.sleep(0.2)
    kube.core.delete_namespaced_pod("p", kube.namespace)
    thread.join(30)
    assert follower == ["up\nbye\n"]
    until(lambda: not kube.core.list_namespaced_pod(kube.namespace).items)


def test_a_pod_that_will_not_stop_is_killed(kube: Kube):
    deaf = "import signal, time; signal.signal(15, signal.SIG_IGN); print('up'); time.sleep(600)"
    kube.create_pod("p", deaf)
    until(lambda: kube.phase("p") == "Running" and kube.log("p"))
    started = time.monotonic()
    kube.core.delete_namespaced_pod("p", kube.namespace)
    assert kube.pod("p").metadata.deletion_timestamp
    until(lambda: not kube.core.list_namespaced_pod(kube.namespace).items)
    assert time.monotonic() - started > 0.9


def test_a_hook_delays_the_signal(kube: Kube):
    hook = {"preStop": {"exec": {"command": ["python", "-c", "import time; time.sleep(0.5)"]}}}
    kube.core.create_namespaced_pod(
        kube.namespace,
        pod("p", SLEEP, lifecycle=hook, spec={"terminationGracePeriodSeconds": 20}),
    )
    until(lambda: kube.phase("p") == "Running")
    started = time.monotonic()
    kube.core.delete_namespaced_pod("p", kube.namespace)
    until(lambda: not kube.core.list_namespaced_pod(kube.namespace).items)
    assert time.monotonic() - started > 0.5


SHARED = {
    "volumeMounts": [{"name": "work", "mountPath": "/work"}],
    "env": [{"name": "SAID", "value": "/work/said"}],
    "spec": {"volumes": [{"name": "work", "emptyDir": {}}], "terminationGracePeriodSeconds": 20},
}
UNTIL_ASKED = """
import os, signal, subprocess, sys, time
signal.signal(15, lambda *_: (time.sleep(0.3), print(open(os.environ["SAID"]).read()), exit()))
"""


def last_words(kube: Kube, name: str) -> str:
    """What the pod says after it has been asked to go."""
    until(lambda: kube.phase(name) == "Running" and "up" in kube.log(name))
    said: list[str] = []
    thread = threading.Thread(target=lambda: said.append(kube.log(name, follow=True)))
    thread.start()
    time.sleep(0.2)
    kube.core.delete_namespaced_pod(name, kube.namespace)
    thread.join(30)
    return said[0]


def test_a_hook_has_the_files_and_variables_of_its_container(kube: Kube):
    words = "import os; open('/work/said', 'w').write('hook ' + os.environ['SAID'][-4:])"
    hook = {"preStop": {"exec": {"command": ["python", "-c", words]}}}
    code = UNTIL_ASKED + "print('up')\nwhile True: time.sleep(1)"
    kube.create_pod("p", code, lifecycle=hook, **SHARED)
    assert last_words(kube, "p") == "up\nhook said\n"


def test_the_main_process_alone_is_asked_to_stop(kube: Kube):
    child = """
import os, signal, time
def asked(*_): open(os.environ["SAID"], "w").write("the child was asked too")
signal.signal(15, asked)
open(os.environ["SAID"], "w").write("only me")
while True: time.sleep(1)
"""
    code = f"""{UNTIL_ASKED}
subprocess.Popen([sys.executable, "-c", {child!r}])
while not os.path.exists(os.environ["SAID"]): time.sleep(0.01)
print("up")
while True: time.sleep(1)
"""
    kube.create_pod("p", code, **SHARED)
    assert last_words(kube, "p") == "up\nonly me\n"


def test_what_a_container_started_ends_with_it(kube: Kube):
    kube.cluster.require("faults")
    code = """
import subprocess, sys
child = [sys.executable, "-c", "import time; time.sleep(600)"]
print(subprocess.Popen(child, start_new_session=True, stdout=subprocess.DEVNULL).pid)
"""
    kube.create_pod("p", code)
    until(lambda: kube.phase("p") == "Succeeded")
    until(lambda: not psutil.pid_exists(int(kube.log("p"))), 10)


@pytest.mark.skipif(not shutil.which("kubectl"), reason="kubectl is not installed")
def test_kubectl_applies_waits_reads_and_deletes(kube: Kube):
    manifest = """
apiVersion: batch/v1
kind: Job
metadata: {name: j}
spec:
  template:
    spec:
      restartPolicy: Never
      containers: [{name: main, image: "python:3.11-slim", command: [python, -c, "print(7)"]}]
"""
    assert "created" in kube.kubectl("apply", "-f", "-", stdin=manifest)
    kube.kubectl("wait", "--for=condition=complete", "job/j", "--timeout=60s")
    assert kube.kubectl("logs", "job/j") == "7\n"
    assert "j" in kube.kubectl("get", "jobs")
    assert "unchanged" in kube.kubectl("apply", "-f", "-", stdin=manifest)
    kube.kubectl("delete", "job", "j", "--timeout=60s")
    assert not kube.batch.list_namespaced_job(kube.namespace).items
