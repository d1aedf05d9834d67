"""The one durable place of the hub: what gateways sent, and which of their numbers are held."""
