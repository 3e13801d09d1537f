"""How serving meets the wire, the artifacts and the broker."""
