"""Settings: what the environment says, and which mistakes stop the hub."""

from pathlib import Path

import pytest

from hub.settings import ROLES, load
from readings.errors import Stop


def test_an_empty_environment_gives_the_defaults(tmp_path: Path) -> None:
    settings = load({"DATA_DIR": str(tmp_path), "MQTT_PASSWORD_FILE": "", "KAFKA_BROKERS": ""})
    assert settings.http_bind == ("127.0.0.1", 8000)
    assert settings.metrics_bind == ("127.0.0.1", 9000)
    assert settings.hub_roles == ROLES
    assert settings.mqtt_url == "mqtt://127.0.0.1:1883"
    assert settings.mqtt_password_file is None
    assert settings.broker == tmp_path / "broker"
    assert settings.database == f"sqlite:///{tmp_path}/hub.db"
    assert settings.backup_max_age == 7 * 86400
    assert settings.log_level == "info"


def test_data_dir_is_made(tmp_path: Path) -> None:
    assert load({"DATA_DIR": str(tmp_path / "a" / "b")}).data_dir.is_dir()


def test_lists_spans_and_levels_are_read(tmp_path: Path) -> None:
    given = {
        "HUB_ROLES": "api, bridge",
        "BACKUP_MAX_AGE": "36h",
        "LOG_LEVEL": "DEBUG",
        "CORS_ORIGINS": "https://a.org,https://b.org",
    }
    settings = load({"DATA_DIR": str(tmp_path), **given})
    assert settings.hub_roles == ("api", "bridge")
    assert settings.backup_max_age == 36 * 3600
    assert settings.log_level == "debug"
    assert settings.cors_origins == ("https://a.org", "https://b.org")


def test_rates_and_switches_are_read(tmp_path: Path) -> None:
    settings = load({"DATA_DIR": str(tmp_path), "RATE_LIMIT_ADDRESS": "off", "RATE_LIMIT_KEY": "10/s", "ACCESS_LOG": "off"})
    assert (settings.rate_limit_address, settings.rate_limit_key, settings.access_log) == (None, (10, 1), False)


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "hub.env"
    file.write_text(f"DATA_DIR={tmp_path}\nLOG_LEVEL=warning\nHTTP_BIND=127.0.0.1:8100\n")
    settings = load({"HUB_ENV_FILE": str(file), "LOG_LEVEL": "error"})
    assert settings.log_level == "error"
    assert settings.http_bind == ("127.0.0.1", 8100)


def test_the_real_environment_does_not_leak_into_a_given_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOG_LEVEL", "error")
    assert load({"DATA_DIR": str(tmp_path)}).log_level == "info"


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("HUB_ROLES", "api,brigde", "brigde"),
        ("DATABASE_URL", "mysql://localhost/hub", "no database of a kind the hub knows"),
        ("DATABASE_URL", "postgresql://localhost:99999/hub", "port"),
        ("DATABASE_URL", "sqlite://", "sqlite:///path"),
        ("DATABASE_URL", "postgresql://localhost", "postgresql://user@host"),
        ("HTTP_BIND", "everywhere", "host:port"),
        ("MQTT_URL", "http://broker", "mqtt://host"),
        ("MQTT_URL", "mqtt://hub:secret@broker", "MQTT_PASSWORD_FILE"),
        ("BACKUP_MAX_AGE", "a week", "for example 7d"),
        ("LOG_LEVEL", "loud", "'debug', 'info', 'warning' or 'error'"),
        ("PUBLIC_URL", "hub.example.org", "https://"),
        ("KAFKA_BROKERS", "localhost:9092", "not in this version"),
        ("INFLUX_URL", "http://localhost:8086/air", "not in this version"),
        ("REDIS_URL", "redis:/localhost", "redis://host:6379/0"),
        ("REDIS_URL", "http://:hunter2@localhost", "is no Redis"),
        ("SMTP_URL", "smtp://localhost", "PUBLIC_URL"),
        ("CORS_ORIGINS", "*", "never *"),
        ("CORS_ORIGINS", "https://a.org/map", "without a path"),
        ("TRUSTED_PROXIES", "10.0.0.0/99", "10.0.0.0/8"),
        ("RATE_LIMIT_KEY", "many", "600/min"),
        ("RATE_LIMIT_ADDRESS", "0/min", "600/min"),
        ("ACCESS_LOG", "yes", "neither on nor off"),
        ("FOLLOWER_LOG", "kafka", "not in this version"),
        ("JWT_SECRET", "hunter2", "Ed25519"),
    ],
)
def test_a_wrong_value_stops_the_hub_and_is_named(tmp_path: Path, name: str, value: str, why: str) -> None:
    with pytest.raises(Stop) as stopped:
        load({"DATA_DIR": str(tmp_path), name: value})
    assert name in str(stopped.value)
    assert why in str(stopped.value)
    assert "hunter2" not in str(stopped.value)
    assert stopped.value.exit_code == 2


def test_all_wrong_values_are_named_in_one_run(tmp_path: Path) -> None:
    with pytest.raises(Stop, match=r"(?s)HTTP_BIND.*LOG_LEVEL"):
        load({"DATA_DIR": str(tmp_path), "LOG_LEVEL": "loud", "HTTP_BIND": "x"})


def test_a_password_in_a_wrong_database_url_is_not_shown(tmp_path: Path) -> None:
    with pytest.raises(Stop) as stopped:
        load({"DATA_DIR": str(tmp_path), "DATABASE_URL": "mysql://hub:hunter2@db/hub"})
    assert "hunter2" not in str(stopped.value)


def test_a_data_dir_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Stop, match="DATA_DIR"):
        load({"DATA_DIR": str(tmp_path / "file" / "data")})


def test_a_misspelt_name_in_the_file_is_refused_with_the_right_one(tmp_path: Path) -> None:
    file = tmp_path / "hub.env"
    file.write_text(f"DATA_DIR={tmp_path}\nDATABASE_ULR=sqlite:///x.db\n")
    with pytest.raises(Stop, match=r"DATABASE_ULR.*write DATABASE_URL"):
        load({"HUB_ENV_FILE": str(file)})


def test_a_missing_file_is_named() -> None:
    with pytest.raises(Stop, match=r"HUB_ENV_FILE.*/nowhere/hub.env"):
        load({"HUB_ENV_FILE": "/nowhere/hub.env"})
