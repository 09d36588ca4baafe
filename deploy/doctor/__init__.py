"""What is missing before the platform can work where the settings point, and what to do."""
