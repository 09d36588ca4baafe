"""What people DECLARE: the schema of a project, its loading, and the shipped examples."""
