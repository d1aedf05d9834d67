"""Alembic's way in: it runs the migrations on the connection that hub.database.migrate opened. No alembic.ini."""

from alembic import context

from hub.database.tables import metadata

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=metadata, render_as_batch=True)
context.run_migrations()
