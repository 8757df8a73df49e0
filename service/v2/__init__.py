"""Reads and gives the Open Inference Protocol v2 with Triton's extensions, at ``/v2``; docs/v2.md maps it to ours."""
