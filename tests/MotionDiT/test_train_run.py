"""Whole runs with a tiny network: files, resume bit for bit, faults. In this process, on one thread."""

from __future__ import annotations

import json
import pickle
import resource
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from core.errors import InputError, OutputError
from core.packs.motion_config import read_config
from MotionDiT.checkpoints import RunFolder, load_state, replace_file
from MotionDiT.data import load_data
from MotionDiT.options import TrainOptions, check
from MotionDiT.reporting import Meter, draw_losses, loss_line, read_log
from MotionDiT.runtime import Runtime
from MotionDiT.trainer import Interrupted, Trainer

TINY = TrainOptions(
    experiment_name="run",
    use_emo=True,
    use_last_frame=True,
    use_last_frame_loss=True,
    audio_feat_dim=24,
    seq_frames=12,
    latent_dim=16,
    num_heads=2,
    ff_size=24,
    cond_layers=1,
    num_layers=1,
    batch_size=8,
    lr=1e-3,
    epochs=3,
    state_minutes=0,
    use_accelerate=False,
)
FULL = {"ema_decay": 0.9, "adaptive_loss": True, "warmup_steps": 3, "lr_schedule": "cosine", "clip_grad_norm": 1.0}


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """One thread, and no picture at the end of every run."""
    monkeypatch.setattr("MotionDiT.trainer.draw_losses", lambda log, picture: None)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def options(make_set, tmp_path):
    return replace(TINY, data_list_json=str(make_set()), experiment_dir=str(tmp_path / "exp"))


def start(options):
    """A trainer whose run folder is open, resumed if asked, and the lines it says."""
    check(options)
    said = []
    trainer = Trainer(options, load_data(options), Runtime(torch.device("cpu")), said.append)
    resumed = options.resume and trainer.folder.state.is_file()
    trainer.folder.open(options)
    if resumed:
        trainer.resume()
    return trainer, said


def state_of(trainer):
    return load_state(trainer.folder.state)


def flat(value, name=""):
    """Leaves of nested containers by path; the saved options are left out, which say resume or not."""
    if isinstance(value, (dict, list, tuple)):
        pairs = value.items() if isinstance(value, dict) else enumerate(value)
        return {k: v for key, inner in pairs if key != "options" for k, v in flat(inner, f"{name}/{key}").items()}
    return {name: value}


def assert_same(a, b):
    a, b = flat(a), flat(b)
    assert a.keys() == b.keys()
    for name in a:
        same = torch.equal(a[name], b[name]) if isinstance(a[name], torch.Tensor) else a[name] == b[name]
        assert same, name


def test_files_of_a_run(options):
    trainer, said = start(options)
    trainer.run()
    assert trainer.loader.steps == 5 and len(said) == 3 and "samples/s" in said[-1]
    root = options.run_folder
    log = read_log(root / "loss.log")
    assert [row[:2] for row in log] == [(1, 5), (2, 10), (3, 15)]
    names = [f"{part}_{kind}" for part in ("scale", "pitch", "yaw", "roll", "t", "exp") for kind in "PVAL"]
    assert list(log[0][2]) == [*names, "total_loss"]
    assert log[2][2]["total_loss"] < log[0][2]["total_loss"]
    assert sum(log[0][2][name] for name in names) == pytest.approx(log[0][2]["total_loss"], rel=1e-4)
    files = sorted(path.name for path in (root / "ckpts").iterdir())
    assert files == ["last_model.pt", "train_1.pt", "train_2.pt", "train_3.pt"]
    content = torch.load(root / "ckpts" / "train_3.pt", weights_only=True)
    assert all(torch.equal(content["model_state_dict"][k], v) for k, v in trainer.network.state_dict().items())
    config = read_config(root / "ckpts" / "train_3.pt")
    assert config.condition == {"aud": 16, "emo": 8} and config.sizes["width"] == 16
    assert config.training["epoch"] == 3
    assert pickle.loads((root / "opt.pkl").read_bytes())["lr"] == 1e-3
    assert json.loads((root / "opt.json").read_text())["lr"] == 1e-3


@pytest.mark.parametrize("settings", [{}, FULL], ids=["plain", "everything"])
@pytest.mark.parametrize("stop_at", [5, 7])
def test_an_interrupted_and_resumed_run_equals_an_unbroken_one(options, tmp_path, settings, stop_at):
    options = replace(options, val_split=0.3 if settings else 0.0, **settings)
    whole, _ = start(replace(options, experiment_name="whole"))
    whole.run()
    broken, _ = start(options)
    step = broken.step

    def stepped(share, batch):
        step(share, batch)
        broken.stop = broken.progress.step + 1 == stop_at

    broken.step = stepped
    with pytest.raises(Interrupted):
        broken.run()
    torch.manual_seed(99)
    resumed, _ = start(replace(options, resume=True))
    assert resumed.progress.step == stop_at
    resumed.run()
    assert_same(state_of(whole), state_of(resumed))
    log = [replace_root.joinpath("loss.log").read_text() for replace_root in (whole.folder.root, resumed.folder.root)]
    assert log[0] == log[1]


def test_a_killed_run_goes_on_from_the_last_state(options):
    whole, _ = start(replace(options, experiment_name="whole"))
    whole.run()
    killed, _ = start(options)
    killed.step = lambda share, batch, step=killed.step: step(share, batch) if killed.progress.step < 12 else 1 / 0
    with pytest.raises(ZeroDivisionError):
        killed.run()
    with open(killed.folder.log, "a") as file:  # of an epoch after the state
        file.write(loss_line(3, 15, {"total_loss": 1.0}) + "\nEpoch: 4, Glob")
    resumed, _ = start(replace(options, resume=True))
    assert resumed.progress.step == 10
    resumed.run()
    assert_same(state_of(whole), state_of(resumed))
    assert resumed.folder.log.read_text() == whole.folder.log.read_text()


def test_resume_refuses_other_settings(options, make_set):
    trainer, _ = start(replace(options, epochs=1))
    trainer.run()
    with pytest.raises(InputError, match=r"--lr was 0.001, is 0.01"):
        start(replace(options, resume=True, lr=0.01))
    with pytest.raises(InputError, match="same records"):
        start(replace(options, resume=True, data_list_json=str(make_set((30, 26), folder="other"))))
    with pytest.raises(InputError, match="holds a run already"):
        start(options)
    longer, _ = start(replace(options, resume=True, epochs=2))
    longer.run()
    assert [row[0] for row in read_log(longer.folder.log)] == [1, 2]


def test_resume_without_a_state_begins(options):
    trainer, _ = start(replace(options, resume=True, epochs=1))
    trainer.run()
    assert trainer.progress.step == 5
    trainer.folder.state.write_bytes(b"PK\x03\x04 damaged")
    with pytest.raises(InputError, match="cannot be resumed from"):
        start(replace(options, resume=True))


def test_loss_that_is_not_a_number(options):
    options = replace(options, log_every=4)
    trainer, _ = start(options)
    trainer.losses_every = 4
    step = trainer.step

    def stepped(share, batch):
        if trainer.progress.step == 7:
            with torch.no_grad():
                trainer.network.final_layer.bias[3] = float("nan")
        step(share, batch)

    trainer.step = stepped
    with pytest.raises(InputError, match=r"not finite in step 7 \(batch 2 of epoch 2\); .*nan_step7_rank0.npz"):
        trainer.run()
    with np.load(options.run_folder / "error" / "nan_step7_rank0.npz", allow_pickle=False) as saved:
        expected = trainer.loader.batch(2, 2)
        assert np.array_equal(saved["kp_seq"], expected.kp_seq) and np.array_equal(saved["aud_cond"], expected.aud_cond)
        assert len(saved["windows"]) == 8 and "from frame" in str(saved["windows"][0])
        assert saved["times"].shape == (8,) and saved["noise"].shape == expected.kp_seq.shape
    assert state_of(trainer)["progress"]["step"] == 5
    assert all(torch.isfinite(t).all() for t in state_of(trainer)["network"].values())


def test_validation_and_the_best_model(options):
    trainer, said = start(replace(options, val_split=0.3, val_freq=2, epochs=4))
    trainer.run()
    log = read_log(trainer.folder.log)
    assert ["val_total_loss" in row[2] for row in log] == [False, True, False, True]
    best = min((row for row in log if "val_total_loss" in row[2]), key=lambda row: row[2]["val_total_loss"])
    found = read_config(trainer.folder.weights / "best_model.pt")
    assert found.training["epoch"] == best[0]
    repeated = trainer.validation(trainer.network, trainer.diffusion, trainer.loss)
    assert repeated["total_loss"] == pytest.approx(log[-1][2]["val_total_loss"], rel=1e-5)


def test_averaged_weights_are_what_is_saved(options):
    trainer, _ = start(replace(options, ema_decay=0.5, epochs=1))
    expected, count = {k: v.detach().clone() for k, v in trainer.network.named_parameters()}, 0
    step = trainer.step

    def stepped(share, batch):
        nonlocal count
        step(share, batch)
        decay = min(0.5, (1 + count) / (10 + count))
        for name, p in trainer.network.named_parameters():
            expected[name] = decay * expected[name] + (1 - decay) * p.detach()
        count += 1

    trainer.step = stepped
    trainer.run()
    saved = torch.load(trainer.folder.weights / "last_model.pt", weights_only=True)["model_state_dict"]
    for name, value in expected.items():
        torch.testing.assert_close(saved[name], value, rtol=1e-4, atol=1e-6)
    assert not torch.equal(saved["final_layer.weight"], trainer.network.final_layer.weight)


def test_learning_rate():
    options = replace(TINY, lr=1.0, warmup_steps=4, lr_schedule="cosine", min_lr=0.1)
    rates = [options.learning_rate(step, 25) for step in range(25)]
    assert rates[:4] == [0.25, 0.5, 0.75, 1.0] and rates[4] == 1.0
    assert rates[14] == pytest.approx(0.55) and rates[24] == pytest.approx(0.1)
    assert {replace(TINY, lr=0.5).learning_rate(step, 9) for step in range(9)} == {0.5}


@pytest.mark.parametrize(
    "change, message",
    [
        ({"batch_size": 43}, "42 windows do not fill one batch of 43"),
        ({"audio_feat_dim": 1103}, r"1103, but data and flags give 16 \(aud\) \+ 8 \(emo\) = 24 columns"),
        ({"use_sc": True}, r"24, but .* \+ 63 \(sc\) = 87"),
        ({"motion_feat_dim": 330}, r"clip0.npy: motion is \(30, 328\), 330 columns are needed"),
        ({"latent_dim": 18, "num_heads": 4}, "width 18 must be a multiple"),
        ({"lr": 0.0}, "--lr is 0.0"),
        ({"dropout": 1.0}, "below 1"),
        ({"experiment_name": ""}, "--experiment_name is missing"),
        ({"checkpoint": "nowhere.pt"}, "--checkpoint: there is no file nowhere.pt"),
        ({"mtn_mean_var_npy": "nowhere.npy"}, "nowhere.npy: cannot be read"),
        ({"dataset_version": "v1"}, "only v2"),
        ({"data_mmap_dir": "nowhere"}, "nowhere: no usable packed features"),
    ],
)
def test_bad_options(options, change, message):
    with pytest.raises(InputError, match=message):
        start(replace(options, **change))
    assert not options.run_folder.exists()


def test_automatic_width_and_preload(options, tmp_path):
    pkl = tmp_path / "p.pkl"
    settings = replace(options, audio_feat_dim=0, epochs=1)
    lines = []
    for name, used in (("disk", ""), ("made", str(pkl)), ("read", str(pkl))):
        preload = {"data_preload": bool(used), "data_preload_pkl": used}
        trainer, _ = start(replace(settings, experiment_name=name, **preload))
        trainer.run()
        lines.append(trainer.folder.log.read_text())
    assert pkl.is_file() and lines[0] == lines[1] == lines[2]


def test_normalised_motion_is_described(options):
    trainer, _ = start(replace(options, mtn_mean_var_npy="auto", epochs=1))
    trainer.run()
    config = read_config(trainer.folder.weights / "train_1.pt")
    motion = np.concatenate([np.load(Path(options.data_list_json).parent / "mtn" / f"clip{i}.npy") for i in range(3)])
    mean, deviation = config.scaling
    np.testing.assert_allclose(mean, motion[:, :265].mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(deviation, motion[:, :265].std(axis=0), atol=1e-5)


def test_retention(golden, tmp_path):
    for case in golden("training_misc.json")["checkpoint_retention"]:
        folder, files = RunFolder(tmp_path, case["save_ckpt_freq"]), set()
        for epoch in range(1, case["epochs"] + 1):
            files.add(epoch)
            files -= set(folder.spare(files))
            assert sorted(files) == case["files_train_N_after_epoch"][str(epoch)]
    assert sorted(set(range(1, 24)) - set(RunFolder(tmp_path, 5, most=3).spare(range(1, 24)))) == [21, 22, 23]


def test_log_lines_and_averages(golden, tmp_path):
    recorded = golden("training_misc.json")
    meter = Meter(("a", "b", "total_loss"))
    meter.add(np.array([[1.0, 2.0, 3.0], [3.0, 2.5, 5.5]]))
    assert meter.averages() == recorded["average_meter"]["averages_after_each"][1]
    log = tmp_path / "loss.log"
    log.write_text("".join(f"{line}\n" for line in recorded["loss_log_lines"]))
    assert [loss_line(*row) for row in read_log(log)] == recorded["loss_log_lines"]
    pytest.importorskip("matplotlib")
    assert draw_losses(log, tmp_path / "loss.png")
    assert (tmp_path / "loss.png").read_bytes().startswith(b"\x89PNG")


def test_a_full_disk_leaves_the_old_files(options):
    trainer, _ = start(replace(options, epochs=2))
    trainer.run()
    before = {path: path.read_bytes() for path in trainer.folder.root.rglob("*.pt")}
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
    try:
        with pytest.raises(OutputError, match="state.pt: cannot be written .*intact"):
            trainer.save_state()
        with pytest.raises(OutputError, match="train_2.pt: cannot be written"):
            trainer.folder.save_epoch(2, trainer.network, trainer.config(2), True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert {path: path.read_bytes() for path in trainer.folder.root.rglob("*.pt")} == before
    assert not list(trainer.folder.root.rglob("*.tmp"))


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path):
    path = tmp_path / "a"
    replace_file(path, lambda file: file.write(b"old"))

    def half(file):
        file.write(b"new")
        raise OSError(28, "No space left on device")

    with pytest.raises(OutputError, match="No space left"):
        replace_file(path, half)
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]
