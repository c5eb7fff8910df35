"""The benchmark: its report, what it makes of a run, the plain path it compares with, and bad input."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
RUN = {
    "frames": 5,
    "seconds": 0.2,
    "elapsed": 0.1,
    "setup": 0.3,
    "first_frame": 0.5,
    "ticks": [10.0, 10.04, 10.05, 10.06, 10.10],
    "gpu_mb": 0.0,
    "peak_mb": 321.0,
    "live": {"audio_needed": 0.4, "compute": 0.02, "late": None, "worst": None},
    "stages": {"warp_f3d": [2, 0.05], "writer": [0, 0.0]},
}


@pytest.fixture
def bench():
    """The module benchmark.py."""
    from scripts import benchmark

    return benchmark


@pytest.fixture
def jobs(bench, monkeypatch):
    """Jobs that would have been run."""
    seen = []
    monkeypatch.setattr(bench.job, "run_job", lambda one: (seen.append(one), RUN)[1])
    return seen


def test_tables_of_runs(bench, jobs, tmp_path, capsys):
    arguments = ["--what", "e2e", "stages", "stream", "--runs", "1", "--pack", "somewhere", "--steps", "10"]
    arguments += ["--batch", "1", "4", "--precision", "bf16", "--json", str(tmp_path / "b.json")]
    assert bench.main([*arguments, "--markdown", str(tmp_path / "docs" / "p.md"), "--note", "Shared machine."]) == 0
    found = json.loads((tmp_path / "b.json").read_text())
    e2e, stages, stream = found["tables"].values()
    assert e2e["real-time factor (register, render, encode)"] == pytest.approx(0.5)
    assert e2e["frames per second, steady"] == pytest.approx(3 / 0.06)
    assert e2e["time between frames, ms, 95%"] == pytest.approx(40)
    assert stages == {"warp_f3d, ms per frame": pytest.approx(10), "writer, ms per frame": 0}
    assert stream["first frame, audio needed, ms"] == 400 and stream["first frame, compute, ms"] == 20
    assert [one.options.get("online_mode") for one in jobs] == [None, None, True]
    assert jobs[0].options == {"sampling_timesteps": 10} and jobs[2].options["overlap_v2"] == 70
    assert jobs[0].speed == {"precision": "bf16", "batch_size": 4}
    page = (tmp_path / "docs" / "p.md").read_text()
    assert page.startswith("# Performance") and "| peak resident memory, MB | 321 |" in page
    assert "Shared machine." in page and ("GPUs were not run" in page) == (not bench.report.gpu_name())
    assert page.strip() == capsys.readouterr().out.strip()


def test_json_keeps_other_tables(bench, jobs, tmp_path):
    path = str(tmp_path / "b.json")
    bench.main(["--what", "e2e", "--runs", "1", "--json", path])
    bench.main(["--what", "stages", "--runs", "1", "--json", path])
    bench.main(["--what", "page", "--json", path, "--markdown", str(tmp_path / "p.md")])
    assert [title.partition(",")[0] for title in json.loads(Path(path).read_text())["tables"]] == ["e2e", "stages"]
    assert "## stages, embedded pack" in (tmp_path / "p.md").read_text() and len(jobs) == 2


def test_comparison_is_a_table_of_its_own(bench, jobs, capsys):
    bench.main(["--what", "e2e", "--runs", "1", "--compare"])
    assert [one.plain for one in jobs] == [False, True]
    assert "## e2e, embedded pack, plain eager path" in capsys.readouterr().out


def test_plain_path_gives_the_pictures_of_the_product(bench):
    torch = pytest.importorskip("torch")
    from core.backends.pytorch import KINDS, TorchSession, make_sizes
    from core.models.modules.fold import fold_constants
    from core.packs.torch_renderer import TorchRenderer
    from scripts.benchmarks.plain import PlainRenderer

    sizes = {
        "warp_network": {"channels": 2, "depth": 2, "compressed": 1, "width": 1, "max_width": 4, "levels": 2},
        "decoder": {"middle": 2, "up": [2, 2]},
    }
    networks = {}
    for folded in (True, False):
        torch.manual_seed(0)
        for name, values in sizes.items():
            network = KINDS[name].network(make_sizes(KINDS[name].sizes, values)).eval().requires_grad_(False)
            networks[name, folded] = fold_constants(network) if folded else network
    cpu = torch.device("cpu")
    sessions = [TorchSession(Path(name), KINDS[name], networks[name, True], cpu) for name in sizes]
    product = TorchRenderer(sessions[0], *sessions)
    plain = PlainRenderer(networks["warp_network", False], networks["decoder", False], cpu)
    rng = np.random.default_rng(0)
    feature = torch.from_numpy(rng.random((1, 2, 2, 8, 8), np.float32))
    x_s, x_d = (rng.uniform(-0.5, 0.5, (1, 21, 3)).astype(np.float32) for _ in range(2))
    pictures = [renderer.decode(renderer.warp(feature, x_s, x_d)) for renderer in (product, plain)]
    assert pictures[0].std() > 1
    np.testing.assert_allclose(pictures[0], pictures[1], atol=0.05)


@pytest.mark.parametrize("method", ["ddim", "dpm"])
def test_motion_model_against_the_plain_loop(bench, method):
    pytest.importorskip("torch")
    from core.models.lmdm import LmdmSizes
    from scripts.benchmarks.lmdm import lmdm

    tiny = LmdmSizes(frames=5, motion=7, cond=9, width=16, heads=2, feedforward=24, encoder_layers=1, decoder_layers=2)
    rows = lmdm(1, 3, method, sizes=tiny)
    assert rows[f"motion clip of 5 frames, 3 guided steps ({method}), s"] > 0 and "times faster" in rows


@pytest.mark.parametrize(
    "arguments, text",
    [
        (["--what", "networks", "--pack", "ditto_lite"], "error: --what networks needs a PyTorch pack"),
        (["--device", "gpu"], "error: option 'device' is 'gpu'"),
        (["--what", "render", "--pack", "nowhere"], "error: no model pack at nowhere"),
    ],
)
def test_bad_input_is_one_line(bench, capsys, arguments, text):
    if "networks" in arguments:
        pytest.importorskip("torch")
    assert bench.main(arguments) == 2
    said = capsys.readouterr()
    assert said.err.startswith(text) and said.err.count("\n") == 1 and not said.out


def test_a_file_that_is_no_report_is_not_replaced(bench, jobs, tmp_path, capsys):
    path = tmp_path / "b.json"
    for text in ("not json", "[1]"):
        path.write_text(text)
        assert bench.main(["--what", "e2e", "--json", str(path)]) == 2
        assert "not a report of this program" in capsys.readouterr().err and path.read_text() == text
    assert not jobs  # before hours of measuring


def test_command_line():
    command = [sys.executable, str(ROOT / "scripts" / "benchmark.py"), "--batch", "0"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=120)
    assert done.returncode == 2 and done.stderr == "error: --runs and --batch start at 1\n" and not done.stdout
