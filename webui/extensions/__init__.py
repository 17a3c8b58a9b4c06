"""Extensions as folders: finding, trusting, importing, installing them. What one may do is in `webui/extension.py`,
calling its hooks in `webui/engine/extensions.py`. Used by the server and, to find and import, by engines; no torch."""
