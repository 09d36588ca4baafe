"""What others have installed: operators, the Gateway, metrics; and that they come in."""
