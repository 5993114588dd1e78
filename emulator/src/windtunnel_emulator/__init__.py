"""Lambda execution environments as processes: a runtime executor plugin for LocalStack.

Everything but `executor` is free of LocalStack and can be used and tested without it.
"""
