"""Readings in over MQTT into one durable front; answers, a page and a fleet out."""
