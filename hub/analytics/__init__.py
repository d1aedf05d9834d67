"""What the network measured: readings over time, as they come in, and the first view of the page."""
