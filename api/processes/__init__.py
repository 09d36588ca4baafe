"""The processes of `orrery up`, and who keeps them."""
