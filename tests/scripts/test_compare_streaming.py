"""The comparison of live and offline speech features, as a command."""

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_longer_steps_cost_less_and_agree_better():
    script, speech = ROOT / "scripts" / "ditto_lite" / "compare_streaming.py", ROOT / "example" / "sentence.wav"
    command = [sys.executable, script, speech, "--steps", "2", "25", "--ahead", "4"]
    result = subprocess.run(
        command, capture_output=True, text=True, timeout=120, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    assert result.returncode == 0, result.stderr
    rows = [[float(number) for number in re.findall(r"\d+\.\d+", line)] for line in result.stdout.splitlines()]
    (short, _, _, dear), (long, lips, _, cheap) = rows
    assert 0.7 < short < long < 1 and 0.9 < lips < 1 and cheap < dear
    assert [re.findall(r"(\d+) ms", line) for line in result.stdout.splitlines()] == [["240"], ["1160"]]
