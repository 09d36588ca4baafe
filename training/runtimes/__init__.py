"""How the model that a trainer leaves becomes one that a runtime runs."""
