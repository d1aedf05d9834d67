"""A manufacturer's words in, readings out."""
