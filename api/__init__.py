"""FRONT DOOR: the command line, the processes of `orrery up`, and the demonstration."""
