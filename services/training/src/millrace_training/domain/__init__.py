"""When to train and on what: values and rules, nothing else."""
