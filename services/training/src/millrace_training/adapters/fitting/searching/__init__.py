"""Which model is fitted: the kind, its parameters, how much past it learns, and the columns that it looks at."""
