"""Networks, gateways, stations and sensors: who may speak, where a thing stands, and what the broker lets each one do."""
