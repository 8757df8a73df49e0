"""Reads what clients say and watch over connections that stay open, and gives what they are told."""
