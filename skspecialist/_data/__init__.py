"""What users hand in: sequences, tasks, weights, frames."""
