"""WHAT RUNS TOGETHER: selections of assets as jobs, and the schedules that start them."""
