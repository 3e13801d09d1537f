"""Windows, detectors, and the policy that makes events of them. Pure: no I/O, no clock."""
