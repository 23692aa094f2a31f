"""Parts of the page that Gradio does not have, each an HTML component with its own markup, script and style."""
