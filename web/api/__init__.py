"""The HTTP API: one file a resource, with its router, its bodies and its handlers."""
