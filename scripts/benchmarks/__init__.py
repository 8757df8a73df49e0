"""Measures the service from outside, beside others that serve the same graph, and writes tables and plots of it."""
