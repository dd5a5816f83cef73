"""The code that runs inside a job: it reads local folders, writes local folders, and knows no backend."""
