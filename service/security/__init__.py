"""Reads who asks and gives what they may do: keys, tokens, scopes, tenants, limits, and what browsers are told."""
