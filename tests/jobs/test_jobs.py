"""Batches: what a jobs file may say, workers that carry on when a job or a process fails, and --resume."""

from __future__ import annotations

import csv
import multiprocessing
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import soundfile
import yaml

from core.errors import InputError, PackError
from core.jobs import workers as job_workers
from core.jobs.jobs_file import BatchJob, DoneLog, JobReport, read_jobs
from core.jobs.ray_engine import run_on_ray
from core.jobs.workers import run_in_processes, visible_gpus

ROOT = Path(__file__).resolve().parents[2]
PORTRAIT = ROOT / "example" / "portrait.png"
HOPPER = ROOT / "tests" / "data" / "grace_hopper.jpg"


@pytest.fixture
def speech(tmp_path) -> Path:
    """0.4 s of speech."""
    samples, rate = soundfile.read(ROOT / "example" / "sentence.wav", frames=6400, start=6400)
    soundfile.write(tmp_path / "a.wav", samples, rate)
    return tmp_path / "a.wav"


def write_csv(path: Path, rows: list[dict]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def row(output: str, source: Path = PORTRAIT, **more: object) -> dict:
    return {"source": str(source), "audio": "a.wav", "output": output, **more}


def run(*args: object) -> subprocess.CompletedProcess:
    command = [sys.executable, str(ROOT / "inference.py"), *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def test_csv_and_yaml_say_the_same(tmp_path):
    rows = [row("1.mp4", emo="happy:0.5", seed="3", crop_flag_do_rot="false"), row("2.mp4", emo="", seed="")]
    rows[1]["crop_flag_do_rot"] = ""
    made = read_jobs(write_csv(tmp_path / "j.csv", rows), {"crf": 30})
    listed = [row("1.mp4", emo="happy:0.5", seed=3, crop_flag_do_rot=False), row("2.mp4")]
    (tmp_path / "j.yaml").write_text(yaml.safe_dump({"defaults": {"crf": 30}, "jobs": listed}))
    assert made == read_jobs(tmp_path / "j.yaml")
    assert made[0].options == {"crf": 30, "emo": "happy:0.5", "seed": 3, "crop_flag_do_rot": False}
    assert made[1].output == str(tmp_path / "2.mp4") and made[1].options == {"crf": 30}


@pytest.mark.parametrize(
    "rows, words",
    [
        ([{"source": "a.png", "output": "b.mp4"}], ["audio"]),
        ([{**row("1.mp4"), "source": ""}], ["job 1", "source"]),
        ([row("1.mp4", smil="1")], ["smil", "smile"]),
        ([row("1.mp4"), row("./1.mp4")], []),
        ([row("1.mp4"), row("1.mp4")], ["jobs 1 and 2", "1.mp4"]),
        ([row("1.mp4", smile="2")], ["job 1", "smile", "2", "1"]),
        ([row("1.mp4", emo="merry")], ["job 1", "merry"]),
        ([row("1.mp4", ctrl="no.yaml")], ["job 1", "no.yaml"]),
        ([row("1.mp4", blink_rate="10", delta_eye_open_n="30")], ["blink_rate", "delta_eye_open_n"]),
    ],
)
def test_bad_files_are_refused_with_the_place(tmp_path, rows, words):
    path = write_csv(tmp_path / "j.csv", rows)
    with pytest.raises(InputError) as caught:
        read_jobs(path)
    assert all(word in str(caught.value) for word in ["j.csv", *words])


@pytest.mark.parametrize("name, text", [("j.csv", "source,audio,output\n"), ("j.txt", "x"), ("j.yaml", "jobs: 3")])
def test_files_that_hold_no_jobs(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match="j\\."):
        read_jobs(tmp_path / name)
    with pytest.raises(InputError, match="none.csv"):
        read_jobs(tmp_path / "none.csv")


def test_one_failing_job_and_resume(tmp_path, speech):
    rows = [row("1.mp4", smile=""), row("bad.mp4", tmp_path / "no.png", smile=""), row("2.mp4", HOPPER, smile="1")]
    path = write_csv(tmp_path / "j.csv", rows)
    done = run("--jobs", path, "--workers", 2)
    assert done.returncode == 1 and "2 of 3 jobs done, 1 failed" in done.stdout
    assert done.stderr.strip().count("\n") == 0 and "job 2" in done.stderr and "no.png" in done.stderr
    assert (tmp_path / "1.mp4").is_file() and (tmp_path / "2.mp4").is_file() and not (tmp_path / "bad.mp4").exists()

    before = (tmp_path / "1.mp4").stat().st_mtime_ns
    rows[1]["source"], rows[2]["smile"] = str(PORTRAIT), "0.5"
    write_csv(path, rows)
    done = run("--jobs", path, "--resume")
    assert done.returncode == 0 and "2 of 2 jobs done, 0 failed, 1 were done before" in done.stdout, done.stderr
    assert (tmp_path / "1.mp4").stat().st_mtime_ns == before and (tmp_path / "bad.mp4").is_file()


@pytest.mark.parametrize(
    "args, word",
    [
        (["--jobs", "j.csv", "--source_path", "a.png"], "--source_path"),
        (["--jobs", "j.csv", "--address", "auto"], "--engine ray"),
        (["--jobs", "j.csv", "--workers", "0"], "--workers"),
        (["--jobs", "no.csv"], "no.csv"),
        (["--resume"], "--jobs"),
        (["--smile", "3"], "smile"),
        (["--blink_rate", "10", "--ctrl", "no.yaml"], "no.yaml"),
    ],
)
def test_conflicting_flags(args, word):
    done = run(*args)
    assert done.returncode == 2 and word in done.stderr and done.stderr.count("\n") == 1, done.stderr


class Fickle:
    """Stands for JobRunner in the processes: one job kills its process."""

    def __init__(self, load):
        if load.get("broken"):
            raise PackError("the pack is broken")

    def run(self, job: BatchJob) -> JobReport:
        if job.output == "die":
            os._exit(9)
        time.sleep(0.3)  # so that jobs are left when a death is noticed
        if job.output == "linger":
            leftover = Path(job.audio)
            leftover.touch()
            try:
                time.sleep(60)
            finally:
                leftover.unlink()
        return JobReport(job.number, f"{job.output} {os.getpid()} {os.environ.get('CUDA_VISIBLE_DEVICES', '')}")


def fickle_work(pipe, load, gpu):
    job_workers.JobRunner = Fickle
    job_workers._work(pipe, load, gpu)


@pytest.fixture
def fickle(monkeypatch):
    """Workers with stand-ins for the models; the list of GPUs that they were started with."""
    started: list[str | None] = []

    def start(load, gpu):
        started.append(gpu)
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=fickle_work, args=(theirs, dict(load), gpu), daemon=True)
        process.start()
        theirs.close()
        return job_workers._Worker(process, ours, gpu)

    monkeypatch.setattr(job_workers, "_start", start)
    return started


def test_a_worker_that_dies_is_replaced(fickle, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,7")
    jobs = [BatchJob(i, f"s{i % 2}", "a", output) for i, output in enumerate(["die", "x", "y", "z", "w"], 1)]
    reports = {report.number: report for report in run_in_processes(jobs, 2, {})}
    assert sorted(reports) == [1, 2, 3, 4, 5]
    assert [n for n in reports if reports[n].error] == [1] and "exit code 9" in reports[1].error
    assert fickle[:2] == ["4", "7"] and len(fickle) == 3
    assert all(reports[n].output.split()[2] in fickle for n in (2, 3, 4, 5))


def test_a_pack_that_cannot_be_loaded_ends_the_batch(fickle):
    with pytest.raises(PackError, match="broken"):
        list(run_in_processes([BatchJob(1, "s", "a", "x")], 1, {"broken": True}))


def test_gpus_are_those_that_may_be_used(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,3")
    assert visible_gpus() == ["2", "3"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert visible_gpus() == []


def test_a_log_that_was_cut_off(tmp_path, speech):
    output = tmp_path / "1.mp4"
    job = BatchJob(1, str(PORTRAIT), str(speech), str(output))
    log = DoneLog(tmp_path / "j.csv", [job])
    assert log.pending() == [job]
    log.add(JobReport(1, str(output), 10, 1.0))
    assert log.pending() == [job]  # the video is not there
    output.write_bytes(b"x")
    assert log.pending() == []
    with log.path.open("ab") as file:
        file.write(b'{"fingerp\xff')
    assert log.pending() == []
    speech.write_bytes(b"another recording")
    assert DoneLog(tmp_path / "j.csv", [job]).pending() == [job]


def test_a_job_whose_input_changed_while_it_ran_is_done_again(tmp_path, speech):
    job = BatchJob(1, str(PORTRAIT), str(speech), str(tmp_path / "1.mp4"))
    log = DoneLog(tmp_path / "j.csv", [job])
    Path(job.output).write_bytes(b"made of the old recording")
    speech.write_bytes(b"another recording")
    log.add(JobReport(1, job.output, 10, 1.0))
    assert DoneLog(tmp_path / "j.csv", [job]).pending() == [job]


def test_inputs_and_logs_that_are_gone_do_not_end_the_batch(tmp_path, speech, caplog):
    job = BatchJob(1, str(PORTRAIT), str(speech), str(tmp_path / "1.mp4"))
    log = DoneLog(tmp_path / "gone" / "j.csv", [job])
    log.add(JobReport(1, job.output, 10, 1.0))
    assert "do job 1 again" in caplog.text
    speech.unlink()
    log = DoneLog(tmp_path / "j.csv", [job])
    log.add(JobReport(1, job.output, 10, 1.0))
    assert log.pending() == [job] and not log.path.exists()


def test_one_file_under_two_names_is_written_once(tmp_path):
    rows = [row("1.mp4"), row("sub/../1.mp4")]
    with pytest.raises(InputError, match="jobs 1 and 2 both write"):
        read_jobs(write_csv(tmp_path / "j.csv", rows))


def test_a_batch_that_is_stopped_lets_workers_clean_up(fickle, tmp_path):
    leftover = tmp_path / "leftover"
    jobs = [BatchJob(i, "s", "a", "x") for i in range(1, 100)] + [BatchJob(100, "t", str(leftover), "linger")]
    reports = run_in_processes(jobs, 2, {})
    assert any(leftover.exists() for _ in reports)  # the other worker goes on meanwhile
    reports.close()
    assert not leftover.exists()


def test_a_worker_that_dies_between_jobs_is_a_failed_job():
    class Dead:
        def send(self, job):
            raise BrokenPipeError

    worker, jobs = job_workers._Worker(None, Dead(), None), [BatchJob(1, "s", "a", "x")]
    job_workers._give(worker, jobs, set())
    assert worker.job.number == 1 and not jobs


@pytest.mark.slow
def test_ray(tmp_path, speech):
    pytest.importorskip("ray")
    path = write_csv(tmp_path / "j.csv", [row("1.mp4"), row("bad.mp4", tmp_path / "no.png")])
    reports = {report.number: report for report in run_on_ray(read_jobs(path), 1, {})}
    assert reports[1].error == "" and (tmp_path / "1.mp4").is_file() and "no.png" in reports[2].error
    with pytest.raises(PackError, match="nowhere"):
        list(run_on_ray(read_jobs(path), 1, {"data_root": str(tmp_path / "nowhere")}))
