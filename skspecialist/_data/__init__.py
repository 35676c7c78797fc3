"""Input of the estimators: sequences, tasks, weights, data frames."""
