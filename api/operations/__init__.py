"""What can be asked of the platform: each operation declared once, for REST, agents and people."""
