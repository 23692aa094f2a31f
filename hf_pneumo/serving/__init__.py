"""Use: a film in, a finding out, for the Space, the API, batch scoring and reports alike."""
