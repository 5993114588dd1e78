"""Plugins for LocalStack: Lambda execution environments as processes, and an S3 that outlives a restart.

Runs inside LocalStack. Everything but its `executor`, `gateway` and S3 `provider` can be used without it.
"""
