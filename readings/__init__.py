"""The ground floor: what a reading is, how it is judged and how it looks on the wire. Pure; imports nothing of ours."""
