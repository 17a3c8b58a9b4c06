"""Workers: the processes that hold an engine, and how the server talks to them."""
