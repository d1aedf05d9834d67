"""Everything after the front: each follower reads the log from its own durable cursor and can be wiped and replayed."""
