"""Other ways to serve the same step graph, to be measured beside the service: Triton, and a service written by hand."""
