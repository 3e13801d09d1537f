"""Model cards: what a candidate is, how good it is and for whom, and what its answers rest on.

`carding` has them made when runs have ended; all else is for the child process that makes one (`make`).
"""
