"""What Lambda's API says of functions: their names, and how long they run."""

import re

# Lambda quotas: a function runs for 15 minutes at most.
MAX_FUNCTION_SECONDS = 900
# Lambda's model: a name, or an ARN in full or from the account number on. A version has its own argument.
FUNCTION_NAME = re.compile(r"((arn:aws[a-z-]*:lambda:[a-z0-9-]+:)?\d{12}:function:)?[A-Za-z0-9_-]{1,64}")
QUALIFIER = re.compile(r"\$LATEST|[A-Za-z0-9_$-]{1,128}")


def short_name(function_name: str) -> str:
    """Return a function's name from its name or ARN without version."""
    return function_name.rpartition(":")[2]
