"""docs/settings.md says what the services read."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_page_is_what_the_settings_say():
    done = subprocess.run(
        [sys.executable, ROOT / "docs" / "generate_settings.py", "--check"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
