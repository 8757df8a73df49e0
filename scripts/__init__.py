"""Thin verbs: each module is a command that reads its arguments and calls model or service."""
