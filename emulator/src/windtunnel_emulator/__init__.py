"""Lambda execution environments as processes, and an S3 that outlives a restart: plugins for LocalStack.

Everything but `executor`, `gateway` and `s3_provider` can be used and tested without LocalStack.
"""
