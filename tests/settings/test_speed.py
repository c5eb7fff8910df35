"""Options of loading: values, and their way to the networks."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.errors import InputError
from core.settings.speed import Speed, split_speed


def test_options_are_taken_out_of_others():
    speed, rest = split_speed({"device": "cuda:1", "base_cfg": {}, "batch_size": 3})
    assert speed == Speed(device="cuda:1", batch_size=3) and rest == {"base_cfg": {}}


@pytest.mark.parametrize(
    "given, text",
    [
        ({"device": "gpu"}, "option 'device' is 'gpu'; it must be auto, cpu, cuda"),
        ({"device": 0}, "option 'device' is 0"),
        ({"precision": "int8"}, "option 'precision' is 'int8'; it must be auto, fp32, fp16, bf16"),
        ({"batch_size": -1}, r"option 'batch_size' is -1; it must be 0 \(automatic\) .. 64"),
        ({"batch_size": 65}, "option 'batch_size' is 65"),
        ({"batch_size": True}, "option 'batch_size' is True"),
        ({"compile": "yes"}, "option 'compile' is 'yes'; it must be True or False"),
    ],
)
def test_impossible_values_are_named(given, text):
    with pytest.raises(InputError, match=text):
        Speed(**given)


class Stop(Exception):
    """Ends a stubbed run."""


def test_flags_reach_the_pack_and_the_run(monkeypatch, capsys):
    import inference
    from core import sdk

    seen = {}

    class Fake:
        def __init__(self, *given, **options):
            seen["load"] = given, options

        def run(self, *_, **options):
            seen["run"] = options
            raise Stop

    monkeypatch.setattr(sdk, "StreamSDK", Fake)
    flags = ["--device", "cuda:1", "--precision", "bf16", "--batch_size", "4", "--compile", "--no_cuda_graphs"]
    options = vars(inference.build_parser().parse([*flags, "--sampler", "dpm", "--data_root", "somewhere"]))
    with pytest.raises(Stop):
        inference.generate(options, show_progress=False)
    speed = {"device": "cuda:1", "precision": "bf16", "batch_size": 4, "compile": True, "cuda_graphs": False}
    given, load = seen["load"]
    assert given == () and load.pop("data_root") == "somewhere"
    assert {name: value for name, value in load.items() if value is not None} == speed
    assert seen["run"]["sampler"] == "dpm" and not set(seen["run"]) & set(speed)
    with pytest.raises(SystemExit):
        inference.build_parser().parse(["--precision", "int8"])
    assert "--precision" in capsys.readouterr().err


def test_the_embedded_pack_says_that_it_takes_no_part(caplog):
    from core.packs.pack import load_pack

    caplog.set_level("INFO")
    load_pack("ditto_lite", batch_size=4)
    assert "options of speed have no effect" in caplog.text
    with pytest.raises(InputError, match="option 'precision' is 'fp8'"):
        load_pack("ditto_lite", precision="fp8")


@pytest.mark.parametrize(
    "name, entry, speed, device, precision",
    [
        ("decoder_cfg", {}, Speed(), "auto", "auto"),
        ("decoder_cfg", {"device": "cuda"}, Speed(), "cuda", "auto"),
        ("decoder_cfg", {"device": "cuda"}, Speed(device="cpu"), "cpu", "auto"),
        ("decoder_cfg", {"fp16": False}, Speed(), "auto", "fp32"),
        ("decoder_cfg", {"fp16": False}, Speed(precision="bf16"), "auto", "bf16"),
        ("stitch_network_cfg", {"device": "cuda"}, Speed(device="cuda"), "cpu", "auto"),
    ],
)
def test_options_go_before_the_configuration(monkeypatch, name, entry, speed, device, precision):
    from core.packs import official
    from core.settings.options import PackConfig

    seen = []
    monkeypatch.setattr(official, "load", lambda path, where, **more: seen.append((where, more["speed"].precision)))
    official.load_entry(PackConfig(base_cfg={name: entry}), {name: Path("net.pth")}, name, "net", speed)
    assert seen == [(device, precision)]


@pytest.mark.parametrize("method", ["ddim", "dpm"])
def test_sampler_is_an_option_of_a_run(method):
    from core.settings.run_options import make_options

    assert make_options(sampler=method).motion.sampler == method
    with pytest.raises(InputError, match="option 'sampler' is 'euler'; it must be ddim or dpm"):
        make_options(sampler="euler")
