"""Python imports this by itself at start-up: child processes of the tests stay on this machine, too."""

import os

if os.environ.get("HF_PNEUMO_CONTACTS"):
    import offline_guard

    offline_guard.install()
