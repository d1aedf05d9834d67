"""A running HTTP face."""

from tests.hub.face import face, migrated

__all__ = ["face", "migrated"]
