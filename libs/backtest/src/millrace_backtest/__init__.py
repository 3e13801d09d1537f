"""The hearts of the six services in one process, over recorded data: what would this policy have done, and at what cost?"""
