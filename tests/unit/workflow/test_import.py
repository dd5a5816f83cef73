"""What `import mlpipe.workflow` brings with it."""

from __future__ import annotations

import subprocess
import sys

CODE = """
import sys
import mlpipe.workflow
names = {name.partition(".")[0] for name in sys.modules}
print(sorted(names - sys.stdlib_module_names - {"mlpipe", "__main__"}))
"""


def test_nothing_is_imported_but_the_standard_library():
    # -S: without what site-packages starts by itself in every process.
    command = [sys.executable, "-S", "-c", f"import sys; sys.path[:0] = {sys.path!r}\n{CODE}"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
