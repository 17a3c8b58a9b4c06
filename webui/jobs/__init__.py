"""Jobs: what was accepted, in which state it is, what happened to it. Knows no torch and no gradio."""
