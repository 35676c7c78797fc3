"""Networks and their training, shared by the estimators; imports torch."""
