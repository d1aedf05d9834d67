"""Pure arithmetic over readings: hours, standards, NowCast. Values in, values out; every rule names its source."""
