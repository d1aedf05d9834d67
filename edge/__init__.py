"""The daemon on the gateway and its command line: sensors in, an outbox on the card, MQTT out."""
