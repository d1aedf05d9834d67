"""People and their rights, networks with licence and embargo, keys, the audit log, rejected rows, idempotent answers."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

_Id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    _networks()
    _histories()
    _people()
    _sessions()
    _records()


def _networks() -> None:
    op.add_column("network", sa.Column("name", sa.String(), server_default=sa.text("''"), nullable=False))
    op.add_column("network", sa.Column("visibility", sa.String(), server_default=sa.text("'public'"), nullable=False))
    op.add_column("network", sa.Column("licence", sa.String(), nullable=True))
    op.add_column("network", sa.Column("attribution", sa.Text(), nullable=True))
    op.add_column("network", sa.Column("embargo_s", sa.BigInteger(), server_default=sa.text("0"), nullable=False))
    op.add_column("network", sa.Column("created_ms", sa.BigInteger(), nullable=True))
    op.add_column("station", sa.Column("closed_ms", sa.BigInteger(), nullable=True))
    op.add_column("gateway", sa.Column("kind", sa.String(), server_default=sa.text("'edge'"), nullable=False))
    op.add_column("gateway", sa.Column("key_hash", sa.String(), nullable=True))
    # An index and no constraint: SQLite would copy the table for that, and may not drop one that others refer to.
    op.create_index("ix_gateway_key_hash", "gateway", ["key_hash"], unique=True)
    for name, kind in (
        ("hello_ms", sa.BigInteger()),
        ("bye_ms", sa.BigInteger()),
        ("clock", sa.String()),
        ("version", sa.String()),
    ):
        op.add_column("gateway", sa.Column(name, kind, nullable=True))


def _histories() -> None:
    """Where a sensor stood, and which one answered to a name."""
    op.add_column("station", sa.Column("site", sa.String(), nullable=True))
    op.add_column("deployment", sa.Column("told", _Id, nullable=True))
    op.create_table(
        "swap",
        sa.Column("id", _Id, sa.Identity(), nullable=False),
        sa.Column("gateway", _Id, nullable=False),
        sa.Column("local_id", sa.String(), nullable=False),
        sa.Column("until_ms", sa.BigInteger(), nullable=False),
        sa.Column("sensor", _Id, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_swap"),
        sa.UniqueConstraint("sensor", name="uq_swap_sensor"),
        sa.UniqueConstraint("gateway", "local_id", "until_ms", name="uq_swap_gateway_local_id_until_ms"),
    )
    with op.batch_alter_table("schema") as schema:  # nothing refers to it by a key
        schema.drop_constraint("uq_schema_gateway_stream_row", type_="unique")
    op.create_index("ix_schema_gateway_stream_row_sensor", "schema", ["gateway", "stream", "row", "sensor"], unique=True)


def _people() -> None:
    op.create_table(
        "account",
        sa.Column("id", _Id, sa.Identity(), nullable=False),
        sa.Column("email", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("role", sa.String(), nullable=False),
        sa.Column("password", sa.String(), nullable=True),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("password_ms", sa.BigInteger(), nullable=True),
        sa.Column("verified_ms", sa.BigInteger(), nullable=True),
        sa.Column("disabled_ms", sa.BigInteger(), nullable=True),
        sa.Column("totp", sa.String(), nullable=True),
        sa.Column("totp_ms", sa.BigInteger(), nullable=True),
        sa.Column("totp_step", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_account"),
        sa.UniqueConstraint("email", name="uq_account_email"),
    )
    op.create_table(
        "recovery_code",
        sa.Column("account", _Id, autoincrement=False, nullable=False),
        sa.Column("hash", sa.String(), nullable=False),
        sa.Column("used_ms", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("account", "hash", name="pk_recovery_code"),
        sa.ForeignKeyConstraint(["account"], ["account.id"], name="fk_recovery_code_account"),
    )
    op.create_table(
        "membership",
        sa.Column("account", _Id, autoincrement=False, nullable=False),
        sa.Column("network", _Id, autoincrement=False, nullable=False),
        sa.Column("role", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("account", "network", name="pk_membership"),
        sa.ForeignKeyConstraint(["account"], ["account.id"], name="fk_membership_account"),
        sa.ForeignKeyConstraint(["network"], ["network.id"], name="fk_membership_network"),
    )
    op.create_index("ix_membership_network", "membership", ["network"])
    op.create_table(
        "one_time",
        sa.Column("hash", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("account", _Id, nullable=True),
        sa.Column("email", sa.String(), nullable=True),
        sa.Column("made_ms", sa.BigInteger(), nullable=False),
        sa.Column("expires_ms", sa.BigInteger(), nullable=False),
        sa.Column("used_ms", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("hash", name="pk_one_time"),
        sa.ForeignKeyConstraint(["account"], ["account.id"], name="fk_one_time_account"),
    )
    op.create_index("ix_one_time_account", "one_time", ["account"])
    op.create_table(
        "api_key",
        sa.Column("id", _Id, sa.Identity(), nullable=False),
        sa.Column("hash", sa.String(), nullable=False),
        sa.Column("hint", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("account", _Id, nullable=True),
        sa.Column("gateway", _Id, nullable=True),
        sa.Column("scopes", sa.String(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("used_ms", sa.BigInteger(), nullable=True),
        sa.Column("expires_ms", sa.BigInteger(), nullable=True),
        sa.Column("revoked_ms", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_api_key"),
        sa.ForeignKeyConstraint(["account"], ["account.id"], name="fk_api_key_account"),
        sa.ForeignKeyConstraint(["gateway"], ["gateway.id"], name="fk_api_key_gateway"),
        sa.UniqueConstraint("hash", name="uq_api_key_hash"),
    )
    op.create_index("ix_api_key_account", "api_key", ["account"])
    op.create_index("ix_api_key_gateway", "api_key", ["gateway"])


def _sessions() -> None:
    op.create_table(
        "session",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("account", _Id, nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("seen_ms", sa.BigInteger(), nullable=False),
        sa.Column("expires_ms", sa.BigInteger(), nullable=False),
        sa.Column("ended_ms", sa.BigInteger(), nullable=True),
        sa.Column("ended_why", sa.String(), nullable=True),
        sa.Column("address", sa.String(), nullable=True),
        sa.Column("agent", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_session"),
        sa.ForeignKeyConstraint(["account"], ["account.id"], name="fk_session_account"),
    )
    op.create_index("ix_session_account", "session", ["account"])
    op.create_table(
        "refresh",
        sa.Column("hash", sa.String(), nullable=False),
        sa.Column("session", sa.String(), nullable=False),
        sa.Column("made_ms", sa.BigInteger(), nullable=False),
        sa.Column("used_ms", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("hash", name="pk_refresh"),
        sa.ForeignKeyConstraint(["session"], ["session.id"], name="fk_refresh_session"),
    )
    op.create_index("ix_refresh_session", "refresh", ["session"])


def _records() -> None:
    op.create_table(
        "audit",
        sa.Column("id", _Id, autoincrement=False, nullable=False),
        sa.Column("time_ms", sa.BigInteger(), nullable=False),
        sa.Column("actor", sa.String(), nullable=False),
        sa.Column("address", sa.String(), nullable=True),
        sa.Column("action", sa.String(), nullable=False),
        sa.Column("object", sa.String(), nullable=False),
        sa.Column("network", _Id, nullable=True),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("previous", sa.String(), nullable=False),
        sa.Column("hash", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_audit"),
    )
    op.create_index("ix_audit_network_id", "audit", ["network", "id"])
    _append_only()
    op.create_table(
        "reject",
        sa.Column("id", _Id, sa.Identity(), nullable=False),
        sa.Column("network", _Id, nullable=False),
        sa.Column("gateway", _Id, nullable=True),
        sa.Column("received_ms", sa.BigInteger(), nullable=False),
        sa.Column("route", sa.String(), nullable=False),
        sa.Column("sensor", sa.String(), nullable=True),
        sa.Column("code", sa.String(), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_reject"),
    )
    op.create_index("ix_reject_network_id", "reject", ["network", "id"])
    op.create_table(
        "idempotency",
        sa.Column("owner", sa.String(), nullable=False),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("made_ms", sa.BigInteger(), nullable=False),
        sa.Column("request", sa.String(), nullable=False),
        sa.Column("status", sa.Integer(), nullable=True),
        sa.Column("headers", sa.Text(), nullable=True),
        sa.Column("body", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("owner", "key", name="pk_idempotency"),
    )
    op.create_index("ix_idempotency_made_ms", "idempotency", ["made_ms"])
    op.create_table(
        "json_row",
        sa.Column("gateway", _Id, autoincrement=False, nullable=False),
        sa.Column("sensor", sa.String(), nullable=False),
        sa.Column("time_ms", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("content", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("gateway", "sensor", "time_ms", name="pk_json_row"),
        sqlite_with_rowid=False,
    )


def _append_only() -> None:
    """The database refuses to change or to delete an entry of the audit log, whoever asks."""
    said = "the audit log is append-only"
    if op.get_bind().dialect.name == "sqlite":
        for doing in ("UPDATE", "DELETE"):
            op.execute(f"CREATE TRIGGER audit_{doing.lower()} BEFORE {doing} ON audit BEGIN SELECT RAISE(ABORT, '{said}'); END")
        # INSERT OR REPLACE deletes without asking the trigger above.
        op.execute(
            "CREATE TRIGGER audit_insert BEFORE INSERT ON audit WHEN EXISTS (SELECT 1 FROM audit WHERE id = NEW.id)"
            " BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END"
        )
        return
    op.execute(
        "CREATE FUNCTION audit_append_only() RETURNS trigger LANGUAGE plpgsql AS"
        f" $$ BEGIN RAISE EXCEPTION '{said}' USING ERRCODE = 'restrict_violation'; END $$"
    )
    op.execute(
        "CREATE TRIGGER audit_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit"
        " FOR EACH STATEMENT EXECUTE FUNCTION audit_append_only()"
    )


def downgrade() -> None:
    raise NotImplementedError("people and their rights cannot be un-made: restore a backup instead")
