"""Openness of the eyes and gaze from landmarks, against the reference."""

import numpy as np

from core.utils.eyes import eye_state


def test_eye_state_matches_the_reference(golden):
    z = golden("pipeline_eye.npz")
    for i, landmarks in enumerate(z["lmk"]):
        eye_open, eye_ball = eye_state(landmarks)
        np.testing.assert_allclose(eye_open, z["LR_open"][i], rtol=1e-4)
        np.testing.assert_allclose(eye_ball.reshape(3, 2), z["LR_ball_move"][i], atol=2e-5)
    np.testing.assert_allclose(eye_state(z["lmk"][0])[1], z["ball_1x6"][0], atol=2e-5)


def test_plausible_eyes(golden):
    z = golden("pipeline_eye.npz")
    eye_open, eye_ball = eye_state(z["lmk_struct"][0])
    np.testing.assert_allclose(eye_open, z["struct_open"][0], rtol=1e-4)
    np.testing.assert_allclose(eye_ball, z["struct_ball"][0], atol=2e-5)
