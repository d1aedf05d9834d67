"""The hub's tables, one Table each. Times are Unix [ms]; ids are integers; streams are 16 lower-case hex digits; sets are JSON.

Log and sample tables carry no foreign keys: they are written by one careful hand, and a key per row costs more than the row.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)
# SQLite counts up by itself only in a column declared INTEGER; PostgreSQL's ids are identities of 64 bits.
_Id = BigInteger().with_variant(Integer, "sqlite")


def _id(name: str = "id") -> Column[int]:
    return Column(name, _Id, Identity(), primary_key=True)


meta = Table("meta", metadata, Column("key", String, primary_key=True), Column("value", Text, nullable=False))

# ---- the fleet: who may speak, where it stands

network = Table(
    "network",
    metadata,
    _id(),
    Column("slug", String, nullable=False, unique=True),
    Column("name", String, nullable=False, server_default=text("''")),
    # What a new station of it gets; licence is an SPDX id or a name; data younger than the embargo is for members only.
    Column("visibility", String, nullable=False, server_default=text("'public'")),
    Column("licence", String),
    Column("attribution", Text),
    Column("embargo_s", BigInteger, nullable=False, server_default=text("0")),
    Column("created_ms", BigInteger),
)

gateway = Table(
    "gateway",
    metadata,
    _id(),
    Column("network", _Id, ForeignKey("network.id"), nullable=False),
    Column("name", String, nullable=False, unique=True),
    Column("key_version", Integer, nullable=False, server_default=text("1")),
    Column("enrolled_ms", BigInteger),
    Column("revoked_ms", BigInteger),
    # edge: a daemon that speaks MQTT; push: no daemon, its sensors post over HTTP with an API key of the gateway.
    Column("kind", String, nullable=False, server_default=text("'edge'")),
    # sha256 of its credential's key, so that the key names its gateway at POST /ingest.
    Column("key_hash", String),
    # What it said in its newest hello, and when; when its broker said that it went.
    Column("hello_ms", BigInteger),
    Column("bye_ms", BigInteger),
    Column("clock", String),
    Column("version", String),
    Index(None, "key_hash", unique=True),
)

token = Table(
    "token",
    metadata,
    Column("hash", String, primary_key=True),
    Column("gateway", _Id, ForeignKey("gateway.id"), nullable=False, index=True),
    Column("expires_ms", BigInteger, nullable=False),
    Column("used_ms", BigInteger),
)

station = Table(
    "station",
    metadata,
    _id(),
    Column("network", _Id, ForeignKey("network.id"), nullable=False),
    Column("name", String, nullable=False),
    Column("lat", Float),
    Column("lon", Float),
    Column("alt", Float),
    Column("zone", String),
    Column("visibility", String, nullable=False, server_default=text("'public'")),
    Column("closed_ms", BigInteger),
    # What gateways call it, where people have given it another name since.
    Column("site", String),
    UniqueConstraint("network", "name"),
)

sensor = Table(
    "sensor",
    metadata,
    _id(),
    Column("network", _Id, ForeignKey("network.id"), nullable=False),
    Column("gateway", _Id, ForeignKey("gateway.id")),
    Column("local_id", String, nullable=False),
    Column("maker", String),
    Column("model", String),
    Column("serial", String),
    UniqueConstraint("gateway", "local_id"),
)

deployment = Table(
    "deployment",
    metadata,
    Column("sensor", _Id, ForeignKey("sensor.id"), primary_key=True, autoincrement=False),
    Column("from_ms", BigInteger, primary_key=True, autoincrement=False),
    Column("station", _Id, ForeignKey("station.id"), nullable=False, index=True),
    Column("to_ms", BigInteger),
    Column("height_m", Float),
    Column("indoor", Boolean),
    # Where a person moved it: the station that its gateway names. While it names that one, the person's word holds.
    Column("told", _Id),
)

# A sensor that another one took over from: until then it was (gateway, local_id), and rows of an earlier time are still its own.
swap = Table(
    "swap",
    metadata,
    _id(),
    Column("gateway", _Id, nullable=False),
    Column("local_id", String, nullable=False),
    Column("until_ms", BigInteger, nullable=False),
    Column("sensor", _Id, nullable=False, unique=True),
    UniqueConstraint("gateway", "local_id", "until_ms"),
)

# ---- people: who may ask. Secrets are kept as hashes; `account` and not `user`, which is a word of SQL

account = Table(
    "account",
    metadata,
    _id(),
    Column("email", String, nullable=False, unique=True),
    Column("name", String, nullable=False),
    Column("role", String, nullable=False),
    Column("password", String),
    Column("created_ms", BigInteger, nullable=False),
    Column("password_ms", BigInteger),
    Column("verified_ms", BigInteger),
    Column("disabled_ms", BigInteger),
    # TOTP: the secret, sealed with a key of DATA_DIR; when it was confirmed; the last time step that was used.
    Column("totp", String),
    Column("totp_ms", BigInteger),
    Column("totp_step", BigInteger),
)

recovery_code = Table(
    "recovery_code",
    metadata,
    Column("account", _Id, ForeignKey("account.id"), primary_key=True, autoincrement=False),
    Column("hash", String, primary_key=True),
    Column("used_ms", BigInteger),
)

membership = Table(
    "membership",
    metadata,
    Column("account", _Id, ForeignKey("account.id"), primary_key=True, autoincrement=False),
    Column("network", _Id, ForeignKey("network.id"), primary_key=True, autoincrement=False, index=True),
    Column("role", String, nullable=False),
)

session = Table(
    "session",
    metadata,
    Column("id", String, primary_key=True),
    Column("account", _Id, ForeignKey("account.id"), nullable=False, index=True),
    Column("created_ms", BigInteger, nullable=False),
    Column("seen_ms", BigInteger, nullable=False),
    Column("expires_ms", BigInteger, nullable=False),
    Column("ended_ms", BigInteger),
    Column("ended_why", String),
    Column("address", String),
    Column("agent", String),
)

refresh = Table(
    "refresh",
    metadata,
    Column("hash", String, primary_key=True),
    Column("session", String, ForeignKey("session.id"), nullable=False, index=True),
    Column("made_ms", BigInteger, nullable=False),
    Column("used_ms", BigInteger),
)

one_time = Table(
    "one_time",
    metadata,
    Column("hash", String, primary_key=True),
    Column("kind", String, nullable=False),
    Column("account", _Id, ForeignKey("account.id"), index=True),
    Column("email", String),
    Column("made_ms", BigInteger, nullable=False),
    Column("expires_ms", BigInteger, nullable=False),
    Column("used_ms", BigInteger),
)

api_key = Table(
    "api_key",
    metadata,
    _id(),
    Column("hash", String, nullable=False, unique=True),
    Column("hint", String, nullable=False),
    Column("name", String, nullable=False),
    # Whose it is: a person's or a gateway's, never both.
    Column("account", _Id, ForeignKey("account.id"), index=True),
    Column("gateway", _Id, ForeignKey("gateway.id"), index=True),
    Column("scopes", String, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("used_ms", BigInteger),
    Column("expires_ms", BigInteger),
    Column("revoked_ms", BigInteger),
)

# ---- what was done, and what was not accepted

audit = Table(
    "audit",
    metadata,
    # Drawn by the writer under a lock held to the commit: the chain has no gap and one order.
    Column("id", _Id, primary_key=True, autoincrement=False),
    Column("time_ms", BigInteger, nullable=False),
    Column("actor", String, nullable=False),
    Column("address", String),
    Column("action", String, nullable=False),
    Column("object", String, nullable=False),
    Column("network", _Id),
    Column("detail", Text, nullable=False),
    Column("previous", String, nullable=False),
    Column("hash", String, nullable=False),
    Index(None, "network", "id"),
)

reject = Table(
    "reject",
    metadata,
    _id(),
    Column("network", _Id, nullable=False),
    Column("gateway", _Id),
    Column("received_ms", BigInteger, nullable=False),
    Column("route", String, nullable=False),
    Column("sensor", String),
    Column("code", String, nullable=False),
    Column("why", Text, nullable=False),
    Column("content", Text, nullable=False),
    Index(None, "network", "id"),
)

idempotency = Table(
    "idempotency",
    metadata,
    Column("owner", String, primary_key=True),
    Column("key", String, primary_key=True),
    Column("made_ms", BigInteger, nullable=False, index=True),
    Column("request", String, nullable=False),
    Column("status", Integer),
    Column("headers", Text),
    Column("body", LargeBinary),
)

# ---- the front: what was taken, and the sets that say so

held = Table(
    "held",
    metadata,
    _id("no"),
    Column("gateway", _Id, nullable=False),
    Column("stream", String(16), nullable=False),
    Column("ranges", Text, nullable=False, server_default=text("'[]'")),
    Column("gone", Text, nullable=False, server_default=text("'[]'")),
    Column("card", String),
    Column("previous", Text),
    Column("seen_hi", BigInteger, nullable=False, server_default=text("0")),
    UniqueConstraint("gateway", "stream"),
)

held_copy = Table(
    "held_copy",
    metadata,
    Column("n", BigInteger, primary_key=True, autoincrement=False),
    Column("gateway", _Id, primary_key=True, autoincrement=False),
    Column("stream", String(16), primary_key=True),
    Column("made_ms", BigInteger, nullable=False),
    Column("ranges", Text, nullable=False),
)

batch = Table(
    "batch",
    metadata,
    # Drawn by the writer, under a lock held to the commit, so that id order is commit order: no identity here.
    Column("id", _Id, primary_key=True, autoincrement=False),
    Column("gateway", _Id, nullable=False),
    Column("stream", String(16), nullable=False),
    Column("lo", BigInteger, nullable=False),
    Column("n", BigInteger, nullable=False),
    Column("take", Text),
    Column("header", LargeBinary, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("received_ms", BigInteger, nullable=False),
    Index(None, "gateway", "stream", "lo"),
)

conflict = Table(
    "conflict",
    metadata,
    _id(),
    Column("gateway", _Id, nullable=False),
    Column("stream", String(16), nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("batch", _Id, nullable=False),
    Column("crc_held", BigInteger, nullable=False),
    Column("crc_came", BigInteger, nullable=False),
    UniqueConstraint("gateway", "stream", "seq", "crc_came"),
)

# Rows of HTTP that the log has, in batches of stream 0: the first 64 bits of a hash of the content. Made anew by `posts.reindex`.
json_row = Table(
    "json_row",
    metadata,
    Column("gateway", _Id, primary_key=True, autoincrement=False),
    Column("sensor", String, primary_key=True),
    Column("time_ms", BigInteger, primary_key=True, autoincrement=False),
    Column("content", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

# ---- settle's result: the log in an order in which each row's meaning is known

ready = Table(
    "ready",
    metadata,
    Column("id", _Id, primary_key=True, autoincrement=False),
    Column("batch", _Id, nullable=False),
    Column("rows", Text),
    Column("offset_ms", BigInteger, nullable=False, server_default=text("0")),
)

waiting = Table(
    "waiting",
    metadata,
    Column("gateway", _Id, nullable=False),
    Column("stream", String(16), nullable=False),
    Column("boot", String),
    Column("batch", _Id, nullable=False),
    Column("rows", Text, nullable=False),
    Column("why", String, nullable=False),
    Index(None, "gateway", "stream"),
)

event = Table(
    "event",
    metadata,
    _id(),
    Column("gateway", _Id, nullable=False),
    Column("sensor", _Id),
    Column("time_ms", BigInteger, nullable=False),
    Column("kind", String, nullable=False),
    Column("content", Text, nullable=False),
    Index(None, "gateway", "time_ms"),
)

schema = Table(
    "schema",
    metadata,
    _id(),
    Column("gateway", _Id, nullable=False),
    Column("stream", String(16), nullable=False),
    Column("row", BigInteger, nullable=False),
    Column("sensor", _Id, nullable=False, index=True),
    Column("content", Text, nullable=False),
    # A row describes one sensor, and after a swap the one that took over as well.
    Index(None, "gateway", "stream", "row", "sensor", unique=True),
)

channel = Table(
    "channel",
    metadata,
    Column("schema", _Id, primary_key=True, autoincrement=False),
    Column("idx", SmallInteger, primary_key=True, autoincrement=False),
    Column("parameter", String, nullable=False),
    Column("unit", String, nullable=False),
    Column("exponent", SmallInteger, nullable=False),
    Column("ambient", Boolean, nullable=False),
    Column("period_s", Integer, nullable=False),
)

# ---- the followers' results

cursor = Table(
    "cursor",
    metadata,
    Column("follower", String, primary_key=True),
    Column("position", BigInteger, nullable=False),
)

view_error = Table(
    "view_error",
    metadata,
    Column("follower", String, primary_key=True),
    Column("ready", _Id, primary_key=True, autoincrement=False),
    Column("row", BigInteger, primary_key=True, autoincrement=False),
    Column("why", Text, nullable=False),
)


def _sample_columns() -> list[Column[int] | Column[str]]:
    return [
        Column("sensor", _Id, primary_key=True, autoincrement=False),
        Column("time_ms", BigInteger, primary_key=True, autoincrement=False),
        Column("stream_no", BigInteger, primary_key=True, autoincrement=False),
        Column("seq", BigInteger, primary_key=True, autoincrement=False),
        Column("schema", _Id, nullable=False),
        Column("body", Text, nullable=False),
        Column("flags", Text),
        Column("flags_edge", Text),
    ]


sample = Table("sample", metadata, *_sample_columns(), sqlite_with_rowid=False)

sample_before = Table(
    "sample_before",
    metadata,
    *_sample_columns(),
    Column("replaced_ms", BigInteger, primary_key=True, autoincrement=False),
    sqlite_with_rowid=False,
)

latest = Table(
    "latest",
    metadata,
    Column("sensor", _Id, primary_key=True, autoincrement=False),
    Column("time_ms", BigInteger, nullable=False),
    Column("stream_no", BigInteger, nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("schema", _Id, nullable=False),
    Column("body", Text, nullable=False),
    Column("flags", Text),
    Column("received_ms", BigInteger, nullable=False),
    # The newest `sensor_state` event: while it says no and is newer than the sample, every flag is 9.
    Column("state", String),
    Column("state_ms", BigInteger),
    Column("state_stream_no", BigInteger),
    Column("state_seq", BigInteger),
)

reading = Table(
    "reading",
    MetaData(),  # a view, made by the first migration: no table for alembic to look after
    Column("sensor", _Id),
    Column("time_ms", BigInteger),
    Column("parameter", String),
    Column("unit", String),
    Column("value", Float),
    Column("flag", Integer),
)
