"""Samples by sensor and time, and the newest of each sensor."""
