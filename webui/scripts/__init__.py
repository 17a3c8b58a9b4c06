"""Runs of scripts: many jobs out of one request, carried out through the queue. What a script is: `webui/script.py`."""
