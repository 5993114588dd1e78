"""Puts a repository of DAGs into the bucket that a stack has them from. Runs on your machine."""
