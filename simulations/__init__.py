"""ENGINE that tries: a model version against scenarios and attacks, from a spec to evidence."""
