"""Other ways in than a gateway's link: each leads through the front."""
