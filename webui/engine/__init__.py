"""The engine: everything that touches torch to make a picture. Its only way in is `webui.engine.engine`."""
