"""The page of a web export: its modules beside this file, and the browser that it is proved in."""
