"""Fitting: a dataset file in, a measured model artifact out.

`job` (what to do, what came of it) and `fit` (the function that does it) are light to import, for the process that
decides; everything else loads model libraries, for the child process that fits. `preload` loads them all at once.

`procedure` is what a run does, `updating` what an update does, `cluster` what Dask's workers do of it. Their parts, each
knowing only those after it: `searching`, `shipping`, `measuring` and `own`, `algorithms`, `reading`.
"""
