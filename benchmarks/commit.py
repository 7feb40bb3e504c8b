"""The commit that a result was made of."""

import shutil
import subprocess


def commit() -> str:
    """Short, or "unknown" where there is no git or no repository."""
    if shutil.which("git") is None:
        return "unknown"
    command = ["git", "rev-parse", "--short", "HEAD"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip() or "unknown"
