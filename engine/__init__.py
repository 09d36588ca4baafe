"""HOW an engine process speaks: a spec in, progress lines and one result out, an artefact kept."""
