"""The code of docs/tracing.md runs as one script, and its spans are where the page says."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from dspex_ray.store import open_store
from dspex_ray.tracing.lookup import find_trace

PAGE = Path(__file__).resolve().parents[2] / "docs" / "tracing.md"


def test_the_code_of_the_page_runs_and_keeps_its_spans_in_the_store(tmp_path: Path) -> None:
    script = "\n".join(re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL))
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    kept = open_store(str(tmp_path / ".dspex" / "dspex.db"))
    spans = {record.name: record.attributes for record in find_trace(kept, "latest").spans}
    kept.database.close()
    assert spans["nightly report"] == {"dspex.customer": "c-17", "dspex.rows": 3}
    assert spans["execute_tool look_up"]["gen_ai.tool.call.result"] == "found"
