"""ENGINE that learns: Ray Train and PyTorch in one process, from a spec to an exported artefact."""
