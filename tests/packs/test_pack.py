"""Opening packs: everything that is wrong is said at once; overrides replace entries and change nothing."""

import copy

import numpy as np
import pytest
import yaml

from core.errors import PackError
from core.packs.model_files import find_models
from core.packs.pack import EMBEDDED, load_pack, open_pack, override
from core.settings.options import PackConfig

OFFICIAL = {
    "base_cfg": {
        **{
            f"{name}_cfg": {"model_path": f"{name}.onnx"}
            for name in (
                *("insightface_det", "landmark106", "landmark203", "hubert", "appearance_extractor"),
                *("motion_extractor", "stitch_network", "warp_network", "decoder"),
            )
        },
        "landmark478_cfg": {"blaze_face_model_path": "blaze_face.onnx", "face_mesh_model_path": "face_mesh.onnx"},
    },
    "audio2motion_cfg": {
        **{"model_path": "lmdm.onnx", "motion_feat_dim": 265, "audio_feat_dim": 1103, "seq_frames": 80},
        **dict.fromkeys(("use_emo", "use_sc", "use_eye_open", "use_eye_ball"), True),
        "w2f_type": "hubert",
    },
    "default_kwargs": {},
}


@pytest.fixture
def pack(tmp_path):
    """pack(config, without=()) -> a folder with empty model files."""

    def make(config, without=()):
        (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
        entries = [*config["base_cfg"].values(), config["audio2motion_cfg"]]
        paths = {value for entry in entries for key, value in entry.items() if key.endswith("model_path")}
        for path in paths - set(without):
            (tmp_path / path).touch()
        return tmp_path

    return make


def changed(**sections):
    """OFFICIAL with entries of its sections replaced; None removes one."""
    config = copy.deepcopy(OFFICIAL)
    for name, entries in sections.items():
        config.setdefault(name, {}).update(entries)
        config[name] = {key: value for key, value in config[name].items() if value is not None}
    return config


def test_a_complete_pack(pack):
    root = pack(OFFICIAL)
    opened = open_pack(root, None, {})
    assert opened.files["hubert_cfg"] == root / "hubert.onnx" and not opened.embedded


def test_everything_that_is_wrong_is_said_at_once(pack):
    config = changed(
        base_cfg={"decoder_cfg": None},
        audio2motion_cfg={"use_sc": None, "w2f_type": "wav2vec"},
        default_kwargs={"max_sise": 3, "overlap": 4},
        extra_cfg={},
    )
    root = pack(config, without=("landmark106.onnx", "lmdm.onnx"))
    with pytest.raises(PackError) as caught:
        open_pack(root, None, {})
    message = str(caught.value)
    assert message.startswith(f"{root / 'config.yaml'}: ") and "\n" not in message
    for part in (
        *("'extra_cfg'", "'max_sise'", "did you mean 'max_size'", "'overlap'", "base_cfg.decoder_cfg"),
        *("audio2motion_cfg.use_sc", "'wav2vec'", "hubert or wavlm", "landmark106.onnx", "lmdm.onnx"),
    ):
        assert part in message
    assert "warp_network" not in message


def test_only_the_speech_model_that_is_used_must_be_there(pack):
    wavlm = changed(
        base_cfg={"hubert_cfg": None, "wavlm_cfg": {"model_path": "wavlm.onnx"}}, audio2motion_cfg={"w2f_type": "wavlm"}
    )
    files = open_pack(pack(wavlm), None, {}).files
    assert "wavlm_cfg" in files and "hubert_cfg" not in files
    with pytest.raises(PackError, match="base_cfg.hubert_cfg"):
        open_pack(pack(wavlm), None, {"audio2motion_cfg": {"w2f_type": "hubert"}})


@pytest.mark.parametrize("path", [3, "", None, ["a"]])
def test_paths_that_are_none(pack, path):
    with pytest.raises(PackError, match="base_cfg.decoder_cfg.model_path"):
        open_pack(pack(OFFICIAL), None, {"base_cfg": {"decoder_cfg": {"model_path": path}}})


def test_a_file_inside_the_pack_wins_over_one_in_the_current_folder(pack, tmp_path, monkeypatch):
    root = pack(OFFICIAL)
    (tmp_path / "cwd").mkdir()
    monkeypatch.chdir(tmp_path / "cwd")
    (tmp_path / "cwd" / "decoder.onnx").touch()
    (tmp_path / "cwd" / "only_here.onnx").touch()
    changes = {"base_cfg": {"warp_network_cfg": {"model_path": "only_here.onnx"}}}
    config = override(open_pack(root, None, {}).config, changes)
    files, lacking = find_models(config, root)
    assert files["decoder_cfg"] == root / "decoder.onnx" and not lacking
    assert files["warp_network_cfg"].resolve() == tmp_path / "cwd" / "only_here.onnx"


def test_overrides_replace_whole_entries_and_change_nothing():
    config = PackConfig(
        base_cfg={"decoder_cfg": {"model_path": "a", "device": "cpu"}},
        default_kwargs={"overlap_v2": 70, "emo": np.ones((2, 8))},
    )
    before = copy.deepcopy(config)
    overrides = {"base_cfg": {"decoder_cfg": {"model_path": "b"}}, "default_kwargs": {"smo_k_d": 1}}
    after = override(config, overrides)
    assert after.base_cfg == {"decoder_cfg": {"model_path": "b"}}
    assert after.default_kwargs["overlap_v2"] == 70 and after.default_kwargs["smo_k_d"] == 1
    assert config.base_cfg == before.base_cfg and list(config.default_kwargs) == ["overlap_v2", "emo"]
    assert overrides["default_kwargs"] == {"smo_k_d": 1}
    assert override(config, {"base_cfg": None}) == config


@pytest.mark.parametrize(
    "overrides, text", [({"base": {}}, "unknown section base"), ({"base_cfg": "x"}, "base_cfg.*str")]
)
def test_bad_overrides_are_refused(overrides, text):
    with pytest.raises(PackError, match=text):
        override(PackConfig(), overrides)


def test_bad_options_in_overrides_are_refused():
    with pytest.raises(PackError, match="did you mean 'max_size'"):
        load_pack(EMBEDDED, default_kwargs={"max_sise": 3})


def test_embedded_pack_without_its_motion_model():
    with pytest.raises(PackError, match="audio2motion_cfg.model_path"):
        open_pack(EMBEDDED, None, {"audio2motion_cfg": {"model_path": ""}})
