"""Model cards: what a candidate is, how good it is and for whom, and what its answers rest on."""
