"""The page: layout and controls by Gradio, everything live by plain JavaScript in `assets/`."""
