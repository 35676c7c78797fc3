"""Shared by every estimator."""
