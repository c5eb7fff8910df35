"""Options that cannot be meant together are refused with the reason."""

import pytest

from core.errors import InputError
from core.settings.conflicts import check_conflicts, check_live
from core.settings.run_options import make_options


@pytest.mark.parametrize("given, words", [
    ({"blend_alpha": 0.5}, "blend_alpha is 0.5, but blend_mode is 'blend'.*--blend_mode custom"),
    ({"blend_mode": "custom"}, "add --blend_alpha"),
    ({"region": "mouth", "blend_legacy": True}, "knows only the crop"),
    ({"motion_legacy": True}, "give motion_frames too"),
    ({"encoder": "h265"}, "use one of auto, libx264"),
    ({"alpha": True, "encoder": "libx264"}, "the name of the output decides"),
    ({"online_mode": True, "fps": 30}, "fps is 30; online mode"),
    ({"online_mode": True, "loop": "once"}, "nobody knows how long"),
])  # fmt: skip
def test_refused(given, words):
    with pytest.raises(InputError, match=words):
        check_conflicts(make_options(**given), given)


@pytest.mark.parametrize("given", [
    {}, {"blend_mode": "custom", "blend_alpha": 0.5}, {"motion_frames": 9, "motion_legacy": True}, {"fps": 29.97},
    {"region": "auto", "blend_legacy": True}, {"loop": "once"}, {"encoder": "h264_nvenc"},
])  # fmt: skip
def test_accepted(given):
    check_conflicts(make_options(**given), given)


def test_live_runs_have_their_own_rate_and_no_opacity():
    for given in ({"fps": 30}, {"alpha": True}):
        with pytest.raises(InputError, match=next(iter(given))):
            check_live(make_options(**given))
