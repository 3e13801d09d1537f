"""The lake: how what came gets into it (`settling`, `keeper`), and how datasets are taken from it.

`datasets` takes them in the service's own process, `gathering` on a cluster, from a child that connects to it.
"""
