"""The first tables: fleet, front, settle's log, followers' results; the `reading` view; the network `default`."""

import secrets

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

_Id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
READING_SQLITE = """
CREATE VIEW reading AS
SELECT s.sensor, s.time_ms, c.parameter, c.unit,
       json_extract(s.body, '$[' || c.idx || ']') AS value,
       coalesce(json_extract(s.flags, '$[' || c.idx || ']'), 1) AS flag
FROM sample s JOIN channel c ON c.schema = s.schema
"""
READING_POSTGRESQL = """
CREATE VIEW reading AS
SELECT s.sensor, s.time_ms, c.parameter, c.unit,
       (s.body::json ->> c.idx::integer)::double precision AS value,
       coalesce((s.flags::json ->> c.idx::integer)::integer, 1) AS flag
FROM sample s JOIN channel c ON c.schema = s.schema
"""


def upgrade() -> None:
    _fleet()
    _front()
    _settled()
    _followers()

    view = READING_SQLITE if op.get_bind().dialect.name == "sqlite" else READING_POSTGRESQL
    op.execute(view)
    op.execute("INSERT INTO network (slug) VALUES ('default')")
    op.execute(sa.text("INSERT INTO meta (key, value) VALUES ('marker', :marker)").bindparams(marker=secrets.token_hex(16)))


def _fleet() -> None:
    op.create_table(
        "meta",
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_meta"),
    )
    op.create_table(
        "network",
        sa.Column("id", _Id, sa.Identity(), nullable=False),
        sa.Column("slug", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_network"),
        sa.UniqueConstraint("slug", name="uq_network_slug"),
    )
    op.create_table(
        "gateway",
        sa.Column("id", _Id, sa.Identity(), nullable=False),
        sa.Column("network", _Id, nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("key_version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("enrolled_ms", sa.BigInteger(), nullable=True),
        sa.Column("revoked_ms", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["network"], ["network.id"], name="fk_gateway_network"),
        sa.PrimaryKeyConstraint("id", name="pk_gateway"),
        sa.UniqueConstraint("name", name="uq_gateway_name"),
    )
    op.create_table(
        "token",
        sa.Column("hash", sa.String(), nullable=False),
        sa.Column("gateway", _Id, nullable=False),
        sa.Column("expires_ms", sa.BigInteger(), nullable=False),
        sa.Column("used_ms", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["gateway"], ["gateway.id"], name="fk_token_gateway"),
        sa.PrimaryKeyConstraint("hash", name="pk_token"),
    )
    op.create_index("ix_token_gateway", "token", ["gateway"], unique=False)
    op.create_table(
        "station",
        sa.Column("id", _Id, sa.Identity(), nullable=False),
        sa.Column("network", _Id, nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("lat", sa.Float(), nullable=True),
        sa.Column("lon", sa.Float(), nullable=True),
        sa.Column("alt", sa.Float(), nullable=True),
        sa.Column("zone", sa.String(), nullable=True),
        sa.Column("visibility", sa.String(), server_default=sa.text("'public'"), nullable=False),
        sa.ForeignKeyConstraint(["network"], ["network.id"], name="fk_station_network"),
        sa.PrimaryKeyConstraint("id", name="pk_station"),
        sa.UniqueConstraint("network", "name", name="uq_station_network_name"),
    )
    op.create_table(
        "sensor",
        sa.Column("id", _Id, sa.Identity(), nullable=False),
        sa.Column("network", _Id, nullable=False),
        sa.Column("gateway", _Id, nullable=True),
        sa.Column("local_id", sa.String(), nullable=False),
        sa.Column("maker", sa.String(), nullable=True),
        sa.Column("model", sa.String(), nullable=True),
        sa.Column("serial", sa.String(), nullable=True),
        sa.ForeignKeyConstraint(["gateway"], ["gateway.id"], name="fk_sensor_gateway"),
        sa.ForeignKeyConstraint(["network"], ["network.id"], name="fk_sensor_network"),
        sa.PrimaryKeyConstraint("id", name="pk_sensor"),
        sa.UniqueConstraint("gateway", "local_id", name="uq_sensor_gateway_local_id"),
    )
    op.create_table(
        "deployment",
        sa.Column("sensor", _Id, autoincrement=False, nullable=False),
        sa.Column("from_ms", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("station", _Id, nullable=False),
        sa.Column("to_ms", sa.BigInteger(), nullable=True),
        sa.Column("height_m", sa.Float(), nullable=True),
        sa.Column("indoor", sa.Boolean(), nullable=True),
        sa.ForeignKeyConstraint(["sensor"], ["sensor.id"], name="fk_deployment_sensor"),
        sa.ForeignKeyConstraint(["station"], ["station.id"], name="fk_deployment_station"),
        sa.PrimaryKeyConstraint("sensor", "from_ms", name="pk_deployment"),
    )
    op.create_index("ix_deployment_station", "deployment", ["station"], unique=False)


def _front() -> None:
    op.create_table(
        "held",
        sa.Column("no", _Id, sa.Identity(), nullable=False),
        sa.Column("gateway", _Id, nullable=False),
        sa.Column("stream", sa.String(length=16), nullable=False),
        sa.Column("ranges", sa.Text(), server_default=sa.text("'[]'"), nullable=False),
        sa.Column("gone", sa.Text(), server_default=sa.text("'[]'"), nullable=False),
        sa.Column("card", sa.String(), nullable=True),
        sa.Column("previous", sa.Text(), nullable=True),
        sa.Column("seen_hi", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.PrimaryKeyConstraint("no", name="pk_held"),
        sa.UniqueConstraint("gateway", "stream", name="uq_held_gateway_stream"),
    )
    op.create_table(
        "held_copy",
        sa.Column("n", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("gateway", _Id, autoincrement=False, nullable=False),
        sa.Column("stream", sa.String(length=16), nullable=False),
        sa.Column("made_ms", sa.BigInteger(), nullable=False),
        sa.Column("ranges", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("n", "gateway", "stream", name="pk_held_copy"),
    )
    op.create_table(
        "batch",
        sa.Column("id", _Id, autoincrement=False, nullable=False),
        sa.Column("gateway", _Id, nullable=False),
        sa.Column("stream", sa.String(length=16), nullable=False),
        sa.Column("lo", sa.BigInteger(), nullable=False),
        sa.Column("n", sa.BigInteger(), nullable=False),
        sa.Column("take", sa.Text(), nullable=True),
        sa.Column("header", sa.LargeBinary(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("received_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_batch"),
    )
    op.create_index("ix_batch_gateway_stream_lo", "batch", ["gateway", "stream", "lo"], unique=False)
    op.create_table(
        "conflict",
        sa.Column("id", _Id, sa.Identity(), nullable=False),
        sa.Column("gateway", _Id, nullable=False),
        sa.Column("stream", sa.String(length=16), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("batch", _Id, nullable=False),
        sa.Column("crc_held", sa.BigInteger(), nullable=False),
        sa.Column("crc_came", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_conflict"),
        sa.UniqueConstraint("gateway", "stream", "seq", "crc_came", name="uq_conflict_gateway_stream_seq_crc_came"),
    )


def _settled() -> None:
    op.create_table(
        "ready",
        sa.Column("id", _Id, autoincrement=False, nullable=False),
        sa.Column("batch", _Id, nullable=False),
        sa.Column("rows", sa.Text(), nullable=True),
        sa.Column("offset_ms", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_ready"),
    )
    op.create_table(
        "waiting",
        sa.Column("gateway", _Id, nullable=False),
        sa.Column("stream", sa.String(length=16), nullable=False),
        sa.Column("boot", sa.String(), nullable=True),
        sa.Column("batch", _Id, nullable=False),
        sa.Column("rows", sa.Text(), nullable=False),
        sa.Column("why", sa.String(), nullable=False),
    )
    op.create_index("ix_waiting_gateway_stream", "waiting", ["gateway", "stream"], unique=False)
    op.create_table(
        "event",
        sa.Column("id", _Id, sa.Identity(), nullable=False),
        sa.Column("gateway", _Id, nullable=False),
        sa.Column("sensor", _Id, nullable=True),
        sa.Column("time_ms", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_event"),
    )
    op.create_index("ix_event_gateway_time_ms", "event", ["gateway", "time_ms"], unique=False)
    op.create_table(
        "schema",
        sa.Column("id", _Id, sa.Identity(), nullable=False),
        sa.Column("gateway", _Id, nullable=False),
        sa.Column("stream", sa.String(length=16), nullable=False),
        sa.Column("row", sa.BigInteger(), nullable=False),
        sa.Column("sensor", _Id, nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_schema"),
        sa.UniqueConstraint("gateway", "stream", "row", name="uq_schema_gateway_stream_row"),
    )
    op.create_index("ix_schema_sensor", "schema", ["sensor"], unique=False)
    op.create_table(
        "channel",
        sa.Column("schema", _Id, autoincrement=False, nullable=False),
        sa.Column("idx", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("parameter", sa.String(), nullable=False),
        sa.Column("unit", sa.String(), nullable=False),
        sa.Column("exponent", sa.SmallInteger(), nullable=False),
        sa.Column("ambient", sa.Boolean(), nullable=False),
        sa.Column("period_s", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("schema", "idx", name="pk_channel"),
    )


def _followers() -> None:
    op.create_table(
        "cursor",
        sa.Column("follower", sa.String(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("follower", name="pk_cursor"),
    )
    op.create_table(
        "view_error",
        sa.Column("follower", sa.String(), nullable=False),
        sa.Column("ready", _Id, autoincrement=False, nullable=False),
        sa.Column("row", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("follower", "ready", "row", name="pk_view_error"),
    )
    op.create_table(
        "sample",
        sa.Column("sensor", _Id, autoincrement=False, nullable=False),
        sa.Column("time_ms", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("stream_no", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("schema", _Id, nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("flags", sa.Text(), nullable=True),
        sa.Column("flags_edge", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("sensor", "time_ms", "stream_no", "seq", name="pk_sample"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "sample_before",
        sa.Column("sensor", _Id, autoincrement=False, nullable=False),
        sa.Column("time_ms", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("stream_no", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("schema", _Id, nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("flags", sa.Text(), nullable=True),
        sa.Column("flags_edge", sa.Text(), nullable=True),
        sa.Column("replaced_ms", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("sensor", "time_ms", "stream_no", "seq", "replaced_ms", name="pk_sample_before"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "latest",
        sa.Column("sensor", _Id, autoincrement=False, nullable=False),
        sa.Column("time_ms", sa.BigInteger(), nullable=False),
        sa.Column("stream_no", sa.BigInteger(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("schema", _Id, nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("flags", sa.Text(), nullable=True),
        sa.Column("received_ms", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(), nullable=True),
        sa.Column("state_ms", sa.BigInteger(), nullable=True),
        sa.Column("state_stream_no", sa.BigInteger(), nullable=True),
        sa.Column("state_seq", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("sensor", name="pk_latest"),
    )


def downgrade() -> None:
    raise NotImplementedError("these are the first tables: restore a backup instead")
