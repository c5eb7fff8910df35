"""train.py as users start it: exit codes, two processes, kill -9."""

from __future__ import annotations

import signal
import subprocess
import time

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("accelerate")
pytest.importorskip("tyro")

from MotionDiT.data import load_data
from MotionDiT.reporting import read_log
from MotionDiT.runtime import make_runtime
from MotionDiT.train import parse
from MotionDiT.trainer import Trainer

TWO = ("torch.distributed.run", "--nproc_per_node", "2", "--master_port", "29613")
PLAIN = ("--no-use_accelerate", "--device", "cpu")


def weights(folder, epoch):
    return torch.load(folder / "ckpts" / f"train_{epoch}.pt", weights_only=True)["model_state_dict"]


def done(settings):
    return subprocess.run(**settings, capture_output=True, timeout=120)


def train_here(settings):
    """The same run in this process; the command line is parsed by train.py."""
    options = parse(settings["args"][2:])
    threads = torch.get_num_threads()
    runtime = make_runtime(options)
    trainer = Trainer(options, load_data(options), runtime, lambda line: None)
    trainer.folder.open(options)
    trainer.run()
    torch.set_num_threads(threads)


def test_two_processes_equal_one_with_the_double_batch(make_set, train_command, tmp_path):
    data = make_set()
    flags = ("--dropout", 0, "--epochs", 2, "--adaptive_loss", "--clip_grad_norm", 5, "--val_split", 0.3)
    two = done(train_command(data, *flags, "--batch_size", 4, name="two", launch=TWO))
    assert two.returncode == 0, two.stderr
    train_here(train_command(data, *flags, "--batch_size", 8, *PLAIN, name="one"))
    logs = [read_log(tmp_path / "exp" / name / "loss.log") for name in ("one", "two")]
    assert [row[:2] for row in logs[0]] == [row[:2] for row in logs[1]] and len(logs[0]) == 2
    for a, b in zip(*logs):
        assert a[2].keys() == b[2].keys()
        np.testing.assert_allclose(list(a[2].values()), list(b[2].values()), rtol=2e-4, atol=2e-6)
    a, b = (weights(tmp_path / "exp" / name, 2) for name in ("one", "two"))
    names = [name for name in a if not name.endswith("in_proj_bias")]  # the keys' part is driven by rounding alone
    off = torch.cat([(a[name] - b[name]).abs().flatten() for name in names])
    assert (off < 2e-5).float().mean() > 0.999 and off.max() < 8e-3  # Adan enlarges rounding where gradients vanish
    assert (tmp_path / "exp" / "two" / "tensorboard").is_dir()
    assert (tmp_path / "exp" / "two" / "loss.png").is_file()


@pytest.mark.slow
def test_kill_and_resume(make_set, train_command, tmp_path):
    data, flags = make_set(), ("--batch_size", 8, "--epochs", 6, "--state_minutes", 0, *PLAIN)
    running = subprocess.Popen(**train_command(data, *flags, name="killed"), stdout=subprocess.PIPE)
    for line in running.stdout:
        if line.startswith("epoch 2/"):
            break
    running.send_signal(signal.SIGKILL)
    running.wait()
    resumed = done(train_command(data, *flags, "--resume", name="killed"))
    assert resumed.returncode == 0, resumed.stderr
    assert "resumed at batch" in resumed.stderr
    train_here(train_command(data, *flags, name="whole"))
    root = tmp_path / "exp"
    a, b = weights(root / "whole", 6), weights(root / "killed", 6)
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert (root / "whole" / "loss.log").read_text() == (root / "killed" / "loss.log").read_text()


def test_interrupt_saves_the_state(make_set, train_command, tmp_path):
    flags = ("--batch_size", 4, "--epochs", 5000, *PLAIN)
    running = subprocess.Popen(**train_command(make_set(), *flags), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    for line in running.stdout:
        if line.startswith("epoch 1/"):
            break
    running.send_signal(signal.SIGTERM)
    begin = time.monotonic()
    _, error = running.communicate(timeout=60)
    assert running.returncode == 130 and "go on with --resume" in error and time.monotonic() - begin < 30
    assert (tmp_path / "exp" / "run" / "state.pt").is_file()


@pytest.mark.parametrize(
    "flags, message",
    [
        (("--batch_size", 999), "error: 42 windows do not fill one batch of 999"),
        (("--use_sc", "True"), "True"),
    ],
)
def test_bad_input_ends_with_status_2(make_set, train_command, tmp_path, flags, message):
    found = done(train_command(make_set(), *flags, *PLAIN))
    assert found.returncode == 2 and message in found.stderr and "Traceback" not in found.stderr
    assert not (tmp_path / "exp").exists()
