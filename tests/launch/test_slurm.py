"""`convsmith launch slurm`, in a real Slurm."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from convsmith.cli.main import app
from convsmith.errors import ConvsmithError, install_command, missing_package
from tests.launch.slurm_cluster import cluster, job_state, wait, why_not
from tests.launch.test_local import RECIPE, finish, start
from tests.training.test_interrupted import assert_same_run
from tests.training.test_memory import let_convolutions_be_hungry

submitit = pytest.importorskip("submitit", reason="submitit is not installed: pip install '.[slurm]'")

SIZE = ("--nodes", "2", "--gpus", "0", "--cpus", "1")
LONG = ("schedule.epochs=250", "checkpoint.every_steps=null")


def dry_run(*words: str) -> str:
    result = CliRunner().invoke(app, ["launch", "slurm", *words, "--dry-run"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_help_has_an_example() -> None:
    result = CliRunner().invoke(app, ["launch", "slurm", "--help"])
    assert "Example: convsmith launch slurm" in result.stdout


def test_a_dry_run_prints_the_script_of_a_recipe(tmp_path: Path) -> None:
    size = ("--nodes", "4", "--gpus", "8", "--partition", "P", "--time", "72h", "--sbatch", "account=us")
    text = dry_run("resnet50-in1k", "--data", "images", "--out", str(tmp_path), *size, "batch.size=1024")
    flags = [line.removeprefix("#SBATCH --") for line in text.splitlines() if line.startswith("#SBATCH")]
    wanted = {"nodes=4", "ntasks-per-node=8", "gpus-per-node=8", "cpus-per-task=8", "partition=P", "time=4320"}
    assert wanted | {"signal=USR1@120", "requeue", "account=us", "open-mode=append"} <= set(flags)
    assert text.endswith(f"# 0: convsmith train resnet50-in1k --data images --out {tmp_path} batch.size=1024\n")


def test_a_dry_run_of_a_ladder_is_an_array_with_the_run_directories_of_ablate(tmp_path: Path) -> None:
    text = dry_run("cifar10", "--data", "images", "--out", str(tmp_path), "--gpus", "0", "--processes", "2")
    assert "#SBATCH --array=0-8%9" in text
    assert "#SBATCH --ntasks-per-node=2" in text
    assert "gpus-per-node" not in text
    assert f"# 0: convsmith train cifar10-baseline --data images --out {tmp_path}/cifar10-baseline\n" in text


def test_a_dry_run_of_a_ladder_with_folds_has_a_job_for_each(tmp_path: Path) -> None:
    text = dry_run("cifar10", "--data", "images", "--out", str(tmp_path), "--gpus", "0", "data.folds=2")
    assert "#SBATCH --array=0-17%18" in text
    out = f"--data images --out {tmp_path}/cifar10-baseline/fold-1"
    assert f"# 1: convsmith train cifar10-baseline {out} data.folds=2 data.fold=1\n" in text


def test_a_recipe_with_folds_but_no_fold_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConvsmithError, match=r"data\.folds is set, but no fold is named"):
        dry_run("digits", "--data", "images", "--out", str(tmp_path), "data.folds=2")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--time", "3 days"], "--time 3 days is not a time\nWrite 90m, 72h or 3d."),
        (["--gpus", "8", "--processes", "4"], "--processes 4 with --gpus 8: each GPU has a process of its own"),
        (["--nodes", "3"], "batch.size=64 cannot be divided over 3 x 1 devices"),
        (["schedule.epoch=3"], "did you mean `schedule.epochs`?"),
    ],
)
def test_what_would_fail_after_hours_in_the_queue_fails_at_once(words: list[str], message: str) -> None:
    with pytest.raises(ConvsmithError) as caught:
        dry_run("digits", "--data", "images", "batch.size=64", *words)
    assert message in str(caught.value)


def test_where_there_is_no_slurm_the_error_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", "")
    images, out = str(tmp_path), str(tmp_path / "run")
    with pytest.raises(ConvsmithError, match="this is not a machine of a Slurm cluster"):
        CliRunner().invoke(app, ["launch", "slurm", "digits", "--data", images, "--out", out], catch_exceptions=False)


def commands_of_a_site(folder: Path, monkeypatch: pytest.MonkeyPatch, **scripts: str) -> None:
    """Put commands of a site with ways of its own first in PATH."""
    folder.mkdir(exist_ok=True)
    for name, text in scripts.items():
        (folder / name).write_text(f"#!/bin/sh\n{text}\n")
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")


def launch(tmp_path: Path, out: str, *words: str) -> list[str]:
    """Job ids, of data that are not looked at before the job."""
    command = ["launch", "slurm", "digits", "--data", str(tmp_path), "--out", str(tmp_path / out), "--json", *words]
    result = CliRunner().invoke(app, command, catch_exceptions=False)
    jobs: list[str] = json.loads(result.stdout)["jobs"]
    return jobs


@pytest.mark.parametrize(
    "said",
    [
        "Welcome! In your last job 12 nodes were idle.\n1234",
        "1234;cluster",
        "1234\nYour project has used 99 % of job 12",
    ],
    ids=["banner before", "a cluster's name", "banner after"],
)
def test_only_a_line_of_its_own_is_the_number_of_the_job(
    said: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    commands_of_a_site(tmp_path / "bin", monkeypatch, sbatch=f"echo '{said}'\nfor last; do :; done\ncp $last $0.got")
    assert launch(tmp_path, "run") == ["1234"]
    queued = tmp_path / "run" / "slurm" / "1234_submission.sh"
    assert queued.read_text() == (tmp_path / "bin" / "sbatch.got").read_text()
    assert f"# 0: convsmith train digits --data {tmp_path}" in queued.read_text()


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ("echo sbatch: error: invalid account >&2; exit 1", "invalid account"),
        ("echo Submitted later", "Submitted later"),
        ("true", "sbatch gives no number of a job"),
    ],
)
def test_a_job_that_slurm_does_not_take_is_an_error_that_leaves_nothing(
    script: str, why: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    commands_of_a_site(tmp_path / "bin", monkeypatch, sbatch=script)
    with pytest.raises(ConvsmithError, match=f"Slurm does not take the job: .*{why}"):
        launch(tmp_path, "run")
    assert {path.name for path in (tmp_path / "run" / "slurm").iterdir()} == {".lock"}


def test_the_number_of_an_array_is_that_of_all_its_jobs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    commands_of_a_site(tmp_path / "bin", monkeypatch, sbatch="echo 7")
    (tmp_path / "ladder.yaml").write_text("description: an example\nsteps: [digits, cifar_resnet20-cifar10]\n")
    command = ["launch", "slurm", str(tmp_path / "ladder.yaml"), "--data", str(tmp_path), "--out", str(tmp_path / "l")]
    result = CliRunner().invoke(app, [*command, "--json"], catch_exceptions=False)
    assert json.loads(result.stdout)["jobs"] == ["7_0", "7_1"]
    assert {path.name for path in (tmp_path / "l" / "slurm").glob("[0-9]*")} == {
        "7_submission.sh",
        "7_0_submitted.pkl",
        "7_1_submitted.pkl",
    }


def test_variables_of_an_enclosing_job_do_not_reach_the_new_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("SLURM_MEM_PER_NODE", "SLURM_CPU_BIND", "SLURM_TRES_PER_TASK", "SLURM_NTASKS", "SLURM_CONF"):
        monkeypatch.setenv(name, "outer")
    commands_of_a_site(tmp_path / "bin", monkeypatch, sbatch="env > $0.env; echo 1")
    launch(tmp_path, "run")
    seen = (tmp_path / "bin" / "sbatch.env").read_text().splitlines()
    assert [line for line in seen if line.startswith("SLURM")] == ["SLURM_CONF=outer"]


def test_a_second_job_for_a_run_is_refused_while_the_first_is_queued(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    commands_of_a_site(tmp_path / "bin", monkeypatch, sbatch="echo 12", squeue="printf '11 RUNNING\\n12 PENDING\\n'")
    assert launch(tmp_path, "run") == ["12"]
    with pytest.raises(ConvsmithError) as caught:
        launch(tmp_path, "run")
    assert caught.value.what == f"job 12 is for {tmp_path / 'run'} already"
    assert caught.value.why.startswith("it is pending")
    assert "scancel 12" in caught.value.fix
    with pytest.raises(ConvsmithError, match="job 12 is for"):  # where it would be a step of a ladder
        launch(tmp_path, "run/step")
    assert launch(tmp_path, "another") == ["12"]
    assert launch(tmp_path, "run", "--sbatch", "dependency=afterany:12") == ["12"]


@pytest.mark.parametrize("squeue", ["printf '11 RUNNING\\n'", "exit 1"], ids=["another", "unknown"])
def test_a_job_that_has_ended_is_followed_by_another(
    squeue: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    commands_of_a_site(tmp_path / "bin", monkeypatch, sbatch="echo 12", squeue=squeue)
    assert launch(tmp_path, "run") == launch(tmp_path, "run") == ["12"]


OUT_OF_TIME = "import signal, sys\nsys.exit(128 + signal.SIGUSR1)\n"


def run_task(folder: Path, main: str, *words: str, **told: str) -> subprocess.CompletedProcess[str]:
    """The task of a job that is told so by Slurm, where `main` stands in for the command line."""
    (folder / "convsmith" / "cli").mkdir(parents=True)
    for name in ("__init__.py", "cli/__init__.py"):
        (folder / "convsmith" / name).touch()
    (folder / "convsmith" / "cli" / "main.py").write_text(main)
    code = (
        "import sys; from convsmith.launch.slurm import SlurmTask; "
        "[sys.modules.pop(it) for it in list(sys.modules) if it.startswith('convsmith')]; "
        f"sys.path.insert(0, {str(folder)!r}); SlurmTask({words}, 1, 1, 3)()"
    )
    one = {"SLURM_PROCID": "0", "SLURM_NTASKS": "1", "SLURM_LOCALID": "0", "SLURM_JOB_ID": "12"}
    environment = {**os.environ, **one, "SLURM_LAUNCH_NODE_IPADDR": "127.0.0.1", "PATH": str(folder), **told}
    return subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)


def test_a_task_is_the_command_line_itself_which_processes_that_it_starts_import(tmp_path: Path) -> None:
    main = "import sys\nprint(sys.modules['__main__'].__spec__.name, *sys.argv[1:])\n"
    result = run_task(tmp_path, main, "train", "digits")
    assert (result.returncode, result.stdout) == (0, "convsmith.cli.main train digits\n"), result.stderr


def test_a_job_that_has_to_queue_again_where_there_is_no_scontrol_says_so(tmp_path: Path) -> None:
    result = run_task(tmp_path, OUT_OF_TIME)
    assert result.returncode == 1
    (line,) = result.stderr.splitlines()
    assert line.startswith("job 12 cannot be requeued: scontrol on ")
    assert line.endswith("No such file or directory; `convsmith launch slurm` as before goes on with it")


@pytest.mark.parametrize(
    ("told", "code", "said"),
    [
        ({}, 0, "job 12 is requeued"),
        ({"SLURM_ARRAY_JOB_ID": "7", "SLURM_ARRAY_TASK_ID": "3"}, 0, "job 7_3 is requeued"),
        ({"SLURM_RESTART_COUNT": "2"}, 0, "job 12 is requeued"),
        ({"SLURM_RESTART_COUNT": "3"}, 1, "job 12 was requeued 3 times, and is not again: --max-requeues"),
        ({"SLURM_PROCID": "1"}, 0, ""),
        ({"REFUSED": "1"}, 1, "job 12 cannot be requeued: not so; `convsmith launch slurm` as before goes on with it"),
    ],
)
def test_a_job_whose_time_is_up_queues_again_by_its_first_process(
    tmp_path: Path, told: dict[str, str], code: int, said: str
) -> None:
    scontrol = tmp_path / "scontrol"
    scontrol.write_text('#!/bin/sh\n[ -z "$REFUSED" ] || { echo not so >&2; exit 1; }\necho $* > $0.got\n')
    scontrol.chmod(0o755)
    result = run_task(tmp_path, OUT_OF_TIME, **told)
    assert (result.returncode, result.stderr.strip()) == (code, said)
    if said.endswith("is requeued"):
        assert (tmp_path / "scontrol.got").read_text() == f"requeue {said.split()[1]}\n"


def test_data_that_are_not_there_are_missed_before_the_job_waits_its_turn(tmp_path: Path) -> None:
    words = ["launch", "slurm", "digits", "--data", str(tmp_path / "images"), "--out", str(tmp_path / "run")]
    with pytest.raises(ConvsmithError, match="the job would fail at once\nName the data with data="):
        CliRunner().invoke(app, words, catch_exceptions=False)


def test_without_submitit_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "submitit.slurm.slurm", None)
    with pytest.raises(ModuleNotFoundError) as caught:
        dry_run("digits", "--data", "images")
    assert install_command("slurm") in str(missing_package(caught.value))


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    reason = why_not()
    if reason:
        pytest.skip(reason)
    with cluster(tmp_path_factory.mktemp("slurm")) as config:
        yield config


def queue(slurm: Path, recipe: str, data: Path, out: Path, *words: str) -> list[str]:
    """Job ids."""
    command = [sys.executable, "-m", "convsmith.cli.main", "launch", "slurm", recipe, "--data", str(data)]
    environment = {**os.environ, "SLURM_CONF": str(slurm), "OMP_NUM_THREADS": "1"}
    result = subprocess.run(
        [*command, "--out", str(out), "--json", *words], env=environment, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    jobs: list[str] = json.loads(result.stdout)["jobs"]
    return jobs


def ended(slurm: Path, job: str, out: Path) -> str:
    """The log of the first process of a job, once that has ended well."""
    wait(lambda: job_state(slurm, job)["JobState"] in ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT"), 400)
    log = (out / "slurm" / f"{job}_0_log.err").read_text()
    assert job_state(slurm, job)["JobState"] == "COMPLETED", log
    return log


def reference(data: Path, out: Path, *words: str) -> Path:
    """The same by two processes of plain torchrun, never interrupted."""
    torchrun = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2")
    finish(start(data, out, *words, launcher=torchrun))
    return out


@pytest.fixture(scope="module")
def uninterrupted(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return reference(digits, tmp_path_factory.mktemp("runs") / "uninterrupted", *LONG)


@pytest.mark.slow
def test_two_machines_train_what_two_processes_of_torchrun_do(slurm: Path, digits: Path, tmp_path: Path) -> None:
    (job,) = queue(slurm, "digits", digits, tmp_path / "run", *SIZE, *RECIPE)
    ended(slurm, job, tmp_path / "run")
    assert job_state(slurm, job)["NodeList"] == "n[1-2]"
    assert_same_run(reference(digits, tmp_path / "reference"), tmp_path / "run")


@pytest.mark.slow
def test_a_job_finds_a_step_of_augmentation_in_the_folder_that_it_was_queued_from(
    slurm: Path, digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mytransforms.py").write_text(
        "def note(image, rng):\n    print('noted by', __file__)\n    return image\n"
    )
    monkeypatch.chdir(tmp_path)
    (job,) = queue(slurm, "digits", digits, tmp_path / "run", *SIZE, *RECIPE, "augment.custom=mytransforms:note")
    ended(slurm, job, tmp_path / "run")
    logs = [(tmp_path / "run" / "slurm" / f"{job}_{process}_log.out").read_text() for process in (0, 1)]
    assert all(f"noted by {tmp_path / 'mytransforms.py'}" in log for log in logs)


@pytest.mark.slow
def test_before_its_time_is_up_a_job_saves_queues_again_and_goes_on(
    slurm: Path, uninterrupted: Path, digits: Path, tmp_path: Path
) -> None:
    limit = ("--time", "1m", "--grace", "1")
    (job,) = queue(slurm, "digits", digits, tmp_path, *SIZE, *limit, *RECIPE, *LONG)
    log = ended(slurm, job, tmp_path)
    assert "stopped by SIGUSR1 after step" in log
    assert f"job {job} is requeued" in log
    assert int(job_state(slurm, job)["Restarts"]) >= 1
    assert_same_run(uninterrupted, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("how", ["requeued", "preempted"])
def test_a_job_that_slurm_takes_off_its_machines_saves_and_goes_on(
    slurm: Path, uninterrupted: Path, digits: Path, tmp_path: Path, how: str
) -> None:
    (job,) = queue(slurm, "digits", digits, tmp_path, *SIZE, *RECIPE, *LONG)
    wait(lambda: any(tmp_path.glob("checkpoints/step-*")), 120)
    environment = {**os.environ, "SLURM_CONF": str(slurm)}
    if how == "requeued":
        subprocess.run(["scontrol", "requeue", job], check=True, env=environment)
    else:
        urgent = ["sbatch", "-p", "high", "-N", "2", "-c", "2", "-o", "/dev/null", "--wrap", "true"]
        subprocess.run(urgent, check=True, env=environment, cwd=tmp_path)
    log = ended(slurm, job, tmp_path)
    assert "stopped by SIG" in log
    assert job_state(slurm, job)["Restarts"] == "1"
    assert_same_run(uninterrupted, tmp_path)


@pytest.mark.slow
def test_a_job_that_memory_is_too_small_for_goes_on_in_smaller_passes(
    slurm: Path, digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = let_convolutions_be_hungry(tmp_path)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")]))
    (job,) = queue(slurm, "digits", digits, tmp_path / "run", *SIZE, *RECIPE)
    log = ended(slurm, job, tmp_path / "run")
    assert f"job {job} is requeued" in log + (tmp_path / "run" / "slurm" / f"{job}_1_log.err").read_text()
    assert_same_run(reference(digits, tmp_path / "reference", "batch.per_device=2"), tmp_path / "run")


@pytest.mark.slow
@pytest.mark.parametrize(("more", "seen"), [((), "0,1"), (("--sbatch", "gpus-per-task=1"), "one")])
def test_each_process_sees_the_gpus_of_its_machine_or_its_own_only(
    slurm: Path, tmp_path: Path, more: tuple[str, ...], seen: str
) -> None:
    text = dry_run("digits", "--data", "images", "--out", str(tmp_path), "--gpus", "2", "--cpus", "1", *more)
    (tmp_path / "slurm").mkdir()
    script = tmp_path / "job.sh"
    script.write_text(re.sub(r"(?<= )\S+ -u -m submitit.*", "printenv SLURM_LOCALID CUDA_VISIBLE_DEVICES", text))
    environment = {**os.environ, "SLURM_CONF": str(slurm)}
    command = ["sbatch", "--parsable", "--wait", str(script)]
    job = subprocess.run(command, check=True, env=environment, capture_output=True, text=True).stdout.strip()
    words = [(tmp_path / "slurm" / f"{job}_{rank}_log.out").read_text().split() for rank in (0, 1)]
    assert words == [[rank, rank if seen == "one" else seen] for rank in ("0", "1")]


@pytest.mark.slow
def test_a_job_from_inside_another_asks_for_what_it_was_told_only(slurm: Path, digits: Path, tmp_path: Path) -> None:
    words = [sys.executable, "-m", "convsmith.cli.main", "launch", "slurm", "digits", "--data", str(digits)]
    words += ["--out", str(tmp_path / "run"), *SIZE, *RECIPE, "schedule.epochs=1"]
    outer = ["sbatch", "--wait", "--parsable", "--mem=100", "--ntasks=1", "-o", str(tmp_path / "log")]
    environment = {**os.environ, "SLURM_CONF": str(slurm), "SLURM_CPU_BIND": "map_cpu:7", "OMP_NUM_THREADS": "1"}
    subprocess.run([*outer, "--wrap", shlex.join(words)], check=True, env=environment)
    said = (tmp_path / "log").read_text()
    match = re.search(r"^job (\d+): ", said, re.MULTILINE)
    assert match, said
    ended(slurm, match[1], tmp_path / "run")


@pytest.mark.slow
def test_a_second_job_for_a_run_is_refused_until_the_first_has_ended(
    slurm: Path, digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_CONF", str(slurm))
    words = ["launch", "slurm", "digits", "--data", str(digits), "--out", str(tmp_path), *SIZE]
    (job,) = queue(slurm, "digits", digits, tmp_path, *SIZE, "--sbatch", "hold")
    with pytest.raises(ConvsmithError, match=f"job {job} is for {tmp_path} already: it is pending"):
        CliRunner().invoke(app, words, catch_exceptions=False)
    subprocess.run(["scancel", job], check=True)
    wait(lambda: job_state(slurm, job)["JobState"] == "CANCELLED", 30)
    (second,) = queue(slurm, "digits", digits, tmp_path, *SIZE, "--sbatch", "hold")
    subprocess.run(["scancel", second], check=True)


@pytest.mark.slow
def test_a_ladder_is_an_array_whose_runs_ablate_collects(slurm: Path, digits: Path, tmp_path: Path) -> None:
    (tmp_path / "one.yaml").write_text("extends: digits\n")
    (tmp_path / "two.yaml").write_text("extends: one.yaml\nloss: {label_smoothing: 0.1}\n")
    ladder = tmp_path / "mine.yaml"
    ladder.write_text("description: an example\nsteps: [one.yaml, two.yaml]\n")
    words = [word for word in RECIPE if word != "eval=false"]
    for job in queue(slurm, str(ladder), digits, tmp_path / "array", "--gpus", "0", "--cpus", "1", *words):
        ended(slurm, job, tmp_path / "array")
    for name in ("array", "here"):
        command = [sys.executable, "-m", "convsmith.cli.main", "ablate", str(ladder), "--data", str(digits)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        result = subprocess.run(
            [*command, "--out", str(tmp_path / name), *words],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert result.returncode == 0, result.stderr
        assert ("nothing is left to train" in result.stderr) == (name == "array")
    for step in ("one", "two"):
        assert_same_run(tmp_path / "here" / step, tmp_path / "array" / step)
    assert "unfinished" not in (tmp_path / "array" / "ablation.md").read_text()
