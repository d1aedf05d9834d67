"""Who is asking, and may they: keys and tokens in, a caller or a problem out."""
