"""Settings: defaults of the published model, files and words on top, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import InputError
from DiffTalk.config import CONFIGS, Config, from_tree, load_config, to_tree


def test_published_values_are_the_defaults() -> None:
    config = load_config([CONFIGS / "talking.yaml"])
    assert config.model == Config().model
    assert config.train == Config().train


def test_words_come_on_top_of_files() -> None:
    config = load_config([CONFIGS / "tiny.yaml"], ["train.batch=3", "train.learning_rate=1e-5"])
    assert (config.train.batch, config.train.learning_rate, config.model.unet_width) == (3, 1e-5, 32)
    assert from_tree(to_tree(config)) == config


WRONG = [
    *("train.bacht=3", "train.batch=0", "train.batch=x", "train", "train=3", "nothing.at=1"),
    *("model.image_size=50", "model.unet_width=33", "model.norm_groups=5", "data.mask_point=68", "data.missing=maybe"),
    "train.mixed_precision=fp8",
]


@pytest.mark.parametrize("word", WRONG)
def test_wrong_settings(word: str) -> None:
    with pytest.raises(InputError) as refused:
        load_config([], [word])
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("text", ["", "- 1", "a: [", "train:\n  batch: four"])
def test_wrong_files(tmp_path: Path, text: str) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(text)
    with pytest.raises(InputError):
        load_config([path])


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
                    lambda inner: st.dictionaries(st.sampled_from(["train", "batch", "model", "x"]), inner, max_size=3),
                    max_leaves=6))  # fmt: skip
def test_any_tree_is_a_config_or_an_input_error(tree: object) -> None:
    try:
        assert isinstance(from_tree(tree), Config)
    except InputError:
        pass
