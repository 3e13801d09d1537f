"""Fits that outgrow one machine: XGBoost on the workers of a Dask cluster.

`plan` is plain values; everything else here imports Dask and is imported only where a pipeline names a cluster. `parts` and
`agreement` run on workers, which therefore need this package, but no model library beside XGBoost.
"""
