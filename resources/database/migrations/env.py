"""How Alembic reaches the control database: over the connection it is handed."""

from alembic import context

from resources.database.control import VERSION_TABLE

context.configure(
    connection=context.config.attributes["connection"],
    version_table=VERSION_TABLE,
    # Alembic assumes that SQLite cannot roll back a change of tables.
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
