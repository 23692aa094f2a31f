"""Where results become words and pictures: tables, figures and the report of a checkpoint."""
