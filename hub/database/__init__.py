"""The hub's database: tables as SQLAlchemy Core, the engine for SQLite or PostgreSQL, the migrations."""
