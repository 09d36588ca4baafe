"""A simulation is ordered only where it can ever run."""

DECLARED = {
    "project": "greedy",
    "owner": "team:a",
    "datasets": {"digits": {"source": "sklearn:digits", "label": "target"}},
    "models": {"reader": {"dataset": "digits", "trainer": "training.vision:train"}},
    "simulations": {
        "held-out": {
            "model": "reader",
            "suite": {"kind": "held_out"},
            "resources": {"gpus": 16, "gpu_kind": "unheard-of"},
        }
    },
}


def test_a_simulation_that_asks_for_gpus_that_nobody_has_is_refused_before_it_waits(gateway):
    created = gateway.admin.post("/projects", json={"declaration": DECLARED})
    assert created.status_code == 201, created.text

    refused = gateway.admin.post("/simulation/environments/greedy.held-out", json={})

    assert refused.json()["type"].endswith("capacity"), refused.text
    assert "16 GPUs" in refused.json()["detail"]
