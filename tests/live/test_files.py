"""Avatars and jobs over HTTP, with a stand-in for the models."""

from __future__ import annotations

import json
import time

import cv2
import numpy as np
import pytest
from stand_in import wait_for

from core.errors import InputError
from live.settings import Limits


def register(client, data, name="me.jpg"):
    return client.post("/avatars", files={"source": (name, data)})


def start_job(client, jpeg, wav, **fields):
    return client.post("/jobs", files={"source": ("a.jpg", jpeg), "audio": ("b.wav", wav)}, data=fields)


def ended(client, job):
    wait_for(lambda: client.get(f"/jobs/{job}").json()["status"] not in ("queued", "running"))
    return client.get(f"/jobs/{job}").json()


def test_an_avatar_is_registered_once_and_survives_a_restart(make_client, sdk, jpeg):
    client = make_client()
    answer = register(client, jpeg)
    assert answer.status_code == 201
    note = answer.json()
    assert note["kind"] == "picture" and (note["width"], note["height"]) == (64, 48)
    again = make_client()
    assert again.get(f"/avatars/{note['id']}").json() == note
    assert again.get(f"/avatars/{note['id']}/picture").content[:2] == b"\xff\xd8"
    assert again.delete(f"/avatars/{note['id']}").status_code == 204
    assert again.get(f"/avatars/{note['id']}").status_code == 404


@pytest.mark.parametrize("name", ["../../../etc/passwd", "..%2f..%2fx", "a/b\x00c.jpg", "x" * 3000])
def test_names_of_clients_never_become_paths(make_client, sdk, jpeg, tmp_path, name):
    client = make_client()
    assert register(client, jpeg, name).status_code == 201
    assert all(path.name == "source" and tmp_path in path.parents for path in sdk.registered)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["state"]


@pytest.mark.parametrize("name", ["..%00", "..%2f..%2fstate", "0" * 31, "A" * 32, "0" * 32, "example%00"])
def test_ids_are_ids_and_nothing_else(make_client, name):
    client = make_client()
    for path in (f"/avatars/{name}", f"/jobs/{name}", f"/jobs/{name}/video"):
        assert client.get(path).status_code == 404
    assert client.delete(f"/jobs/{name}").status_code in (404, 405)


def test_a_picture_without_a_face_is_refused_without_our_paths(make_client, tmp_path):
    client = make_client()
    black = cv2.imencode(".png", np.zeros((40, 40, 3), np.uint8))[1].tobytes()
    answer = register(client, black)
    assert answer.status_code == 422
    assert answer.json() == {"code": "unusable", "message": "the upload: no face was found"}
    assert list((tmp_path / "state" / "avatars").iterdir()) == []


def test_no_more_avatars_than_allowed(make_client, jpeg):
    client = make_client(limits=Limits(avatars=1))
    assert register(client, jpeg).status_code == 201
    assert register(client, jpeg).status_code == 507


def test_a_job_from_file_to_video(make_client, sdk, jpeg, wav):
    client = make_client()
    answer = start_job(client, jpeg, wav, options=json.dumps({"seed": 5, "emo": "happy"}))
    assert answer.status_code == 202
    note = ended(client, answer.json()["id"])
    assert note["status"] == "done" and note["frames"] == 10
    video = client.get(f"/jobs/{note['id']}/video")
    assert video.headers["content-type"] == "video/mp4" and video.content.startswith(b"video of \xff\xd8")
    assert sdk.jobs[0]["seed"] == 5 and sdk.jobs[0]["emo"] == "happy"
    assert client.delete(f"/jobs/{note['id']}").status_code == 204
    assert client.get(f"/jobs/{note['id']}").status_code == 404


def test_a_job_of_a_registered_avatar_outlives_the_avatar(make_client, sdk, jpeg, wav):
    client = make_client()
    avatar = register(client, jpeg).json()["id"]
    sdk.hold.clear()
    job = client.post("/jobs", files={"audio": ("b.wav", wav)}, data={"avatar": avatar}).json()["id"]
    assert client.delete(f"/avatars/{avatar}").status_code == 204
    sdk.hold.set()
    assert ended(client, job)["status"] == "done"


def test_a_full_queue_says_so_at_once(make_client, sdk, jpeg, wav):
    client = make_client(limits=Limits(waiting_jobs=1))
    sdk.hold.clear()
    running = start_job(client, jpeg, wav).json()["id"]
    wait_for(lambda: client.get(f"/jobs/{running}").json()["status"] == "running")
    waiting = start_job(client, jpeg, wav).json()
    assert (waiting["status"], waiting["position"]) == ("queued", 0)
    start = time.monotonic()
    answer = start_job(client, jpeg, wav)
    assert time.monotonic() - start < 1
    assert answer.status_code == 503 and answer.headers["retry-after"] == "10" and answer.json()["code"] == "full"
    assert client.get(f"/jobs/{running}/video").status_code == 409


def test_running_and_waiting_jobs_can_be_cancelled(make_client, sdk, jpeg, wav, tmp_path):
    client = make_client()
    sdk.hold.clear()
    jobs = [start_job(client, jpeg, wav).json()["id"] for _ in range(2)]
    wait_for(lambda: client.get(f"/jobs/{jobs[0]}").json()["status"] == "running")
    for job in reversed(jobs):
        assert client.delete(f"/jobs/{job}").status_code == 204
    assert list((tmp_path / "state" / "jobs").iterdir()) == []
    sdk.hold.set()
    assert ended(client, start_job(client, jpeg, wav).json()["id"])["status"] == "done"


def test_jobs_survive_a_restart(make_client, sdk, jpeg, wav):
    first = make_client()
    sdk.hold.clear()
    jobs = [start_job(first, jpeg, wav).json()["id"] for _ in range(2)]
    wait_for(lambda: first.get(f"/jobs/{jobs[0]}").json()["status"] == "running")
    first.app.state.server.jobs.close()
    sdk.hold.set()
    second = make_client()
    assert [ended(second, job)["status"] for job in jobs] == ["done", "done"]


def test_a_job_that_stopped_the_server_twice_is_lost(make_client, sdk, jpeg, wav, tmp_path):
    client = make_client()
    job = start_job(client, jpeg, wav).json()["id"]
    ended(client, job)
    note = tmp_path / "state" / "jobs" / job / "job.json"
    for attempts, status in ((1, "done"), (2, "lost")):
        note.write_text(json.dumps(json.loads(note.read_text()) | {"status": "running", "attempts": attempts}))
        assert ended(make_client(), job)["status"] == status
    assert "server stopped" in make_client().get(f"/jobs/{job}").json()["message"]


@pytest.mark.parametrize(
    "error, words",
    [
        (InputError("/secret/source: no face was found"), "no face was found"),
        (ZeroDivisionError("secret"), "the job failed; see the server's log"),
    ],
)
def test_a_failed_job_says_why_and_the_next_one_runs(make_client, sdk, jpeg, wav, error, words):
    client = make_client()
    sdk.fail = error
    note = ended(client, start_job(client, jpeg, wav).json()["id"])
    assert note["status"] == "failed" and words in note["message"]
    sdk.fail = None
    assert ended(client, start_job(client, jpeg, wav).json()["id"])["status"] == "done"


def test_old_jobs_are_forgotten(make_client, jpeg, wav, tmp_path):
    client = make_client(limits=Limits(kept_jobs=2))
    for _ in range(4):
        ended(client, start_job(client, jpeg, wav).json()["id"])
    wait_for(lambda: len(list((tmp_path / "state" / "jobs").iterdir())) == 2)


@pytest.mark.parametrize("options", ["[1]", "{", '{"seed": -1}', '{"ch_info": 1}', '{"seed": "1"}', "[" * 900])
def test_bad_options_are_refused(make_client, jpeg, wav, options):
    answer = start_job(make_client(), jpeg, wav, options=options)
    assert answer.status_code == 422 and answer.json()["message"].startswith("options")


def test_what_is_missing_or_twice_is_said(make_client, jpeg, wav):
    client = make_client()
    assert client.post("/jobs", data={"avatar": "example"}).status_code == 422
    assert start_job(client, jpeg, wav, avatar="example").status_code == 422
    assert start_job(client, jpeg, b"no sound").status_code == 415
    assert start_job(client, b"no picture", wav).status_code == 415
    assert start_job(make_client(limits=Limits(speech_seconds=0.1)), jpeg, wav).status_code == 413
