"""Fits that outgrow one machine: XGBoost on the workers of a Dask cluster.

All of it imports Dask, and is imported only where a pipeline names a cluster; what is asked of one is in `cluster_plan`. `parts` and
`agreement` run on workers, which therefore need this package, but no model library beside XGBoost.
"""
