"""AWS's numbers: what a function may use, each with the rule it comes from."""

# "The Init phase is limited to 10 seconds. If all three tasks do not complete within 10 seconds, Lambda
# retries the Init phase at the time of the first function invocation with the configured function timeout."
# (Developer Guide, execution environment lifecycle)
INIT_TIMEOUT_SECONDS = 10.0

# "6291478 byte payload is too large for the RequestResponse invocation type (limit 6291456 bytes)"
MAX_REQUEST_BYTES = 6_291_456

# "By default, Lambda provides your account with a total concurrency limit of 1,000 concurrent executions"
# (Developer Guide, function scaling)
MAX_CONCURRENT_EXECUTIONS = 1_000

# "Response payload size exceeded maximum allowed payload size (6291556 bytes)."
MAX_RESPONSE_BYTES = 6_291_556

# Ours: AWS keeps every line, we hold one invocation's output in memory until LocalStack stores it.
MAX_LOG_BYTES = 8 * 1024 * 1024

# Ours: of an output longer than that, the last part is kept too; it has the traceback and the REPORT line.
KEPT_TAIL_BYTES = 64 * 1024

# Ours: how often the memory of a running function is read.
MEMORY_SAMPLE_SECONDS = 0.05
