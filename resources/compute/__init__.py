"""Where engine jobs run: on this machine, or as RayJobs."""
