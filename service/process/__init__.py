"""Reads settings and signals and gives processes that serve: one, or several under a supervisor."""
