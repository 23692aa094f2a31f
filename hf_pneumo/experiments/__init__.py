"""Many runs as one study: plan, time, records and summary."""
