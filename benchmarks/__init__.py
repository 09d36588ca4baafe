"""How fast: ratios against the bare stack, each measured in one run.

`python -m benchmarks [NAME ...]` runs start, steps, service, simulation, imports, gateway,
cluster (all by default).
"""
