"""Publication: a checkpoint folder, a data set or the Space becomes a repository of the Hugging Face Hub."""
