"""Wrong and odd command lines, as a new user would type them: one line each, nothing done and nothing written."""

import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from jacexp.arguments import run_script
from jacexp.store.merge import merge_runs
from jacexp.store.tables import CURVES, RUNS, TIMING
from tests.evaluate.stores import add_run

ROOT = Path(__file__).parents[2]
NOISE = "eval=white_noise device=cpu"

EVALUATE = [
    ("", "eval= is missing"),
    ("white_noise", "cannot read the argument 'white_noise'"),
    ("=white_noise", "cannot read the argument '=white_noise'"),
    ("--eval white_noise", "cannot read the argument '--eval'"),
    ("eval=", "cannot read the argument 'eval='"),
    ("eval=whitenoise", "did you mean white_noise?"),
    ("eval=fgsm", "choose one of accuracy, adversarial"),
    ("eval=pgd,square", "eval=pgd,square is unknown"),
    ("eval=white_noise eval=pgd", "eval is given twice, as white_noise and as pgd"),
    (f"{NOISE} seed=0 seed=1", "seed is given twice, as 0 and as 1"),
    (f"{NOISE} eval.seed=0 eval.seed=0", "eval.seed is given twice"),
    (f"{NOISE} eval.sigmas=[]", "eval.sigmas=[]: white_noise takes one or more different finite numbers"),
    (f"{NOISE} eval.sigmas=[nan]", "white_noise takes one or more"),
    (f"{NOISE} eval.sigmas=[.nan]", "white_noise takes one or more"),
    (f"{NOISE} eval.sigmas=[.inf]", "white_noise takes one or more"),
    (f"{NOISE} eval.sigmas=[-0.1]", "white_noise takes one or more"),
    (f"{NOISE} eval.sigmas=[0.1,0.1]", "white_noise takes one or more different"),
    (f"{NOISE} eval.sigmas=[0,x]", "white_noise takes one or more"),
    (f"{NOISE} eval.sigmas=0.1", "white_noise takes one or more"),
    (f"{NOISE} eval.sigmas=[", "a setting cannot be read"),
    (f"{NOISE} eval.sigmas=[[0]]", "white_noise takes one or more"),
    (f"{NOISE} eval.sigmas={{a:1}}", "white_noise takes one or more"),
    (f"{NOISE} eval.sigma=[0]", "has no setting sigma (did you mean sigmas?)"),
    (f"{NOISE} eval.sigmas.x=1", "eval.sigmas={'x': 1}: white_noise takes"),
    (f"{NOISE} eval.foo=1", "white_noise has no setting foo; it has sigmas, seed, batch_size"),
    (f"{NOISE} eval.n=0", "white_noise has no setting n"),
    (f"{NOISE} eval.n_samples=10", "white_noise has no setting n_samples"),
    (f"{NOISE} eval.batch_size=0", "a whole number, 1 or more"),
    (f"{NOISE} eval.batch_size=1.5", "a whole number, 1 or more"),
    (f"{NOISE} eval.seed=-1", "a whole number ≥ 0"),
    (f"{NOISE} eval.seed=true", "a whole number ≥ 0"),
    (f"{NOISE} eval.seed=null", "a whole number ≥ 0"),
    (f"{NOISE} eval.progress=1", "has no setting progress"),
    ("eval=adversarial eval.epsilons=[-1]", "adversarial takes one or more"),
    ("eval=pgd eval.steps=[-1]", "pgd takes one or more different whole numbers"),
    ("eval=pgd eval.steps=[1.5]", "pgd takes one or more different whole numbers"),
    ("eval=pgd eval.steps=[]", "pgd takes one or more different whole numbers"),
    ("eval=pgd eval.delta=0", "a finite number greater than 0"),
    ("eval=pgd eval.eta=-1", "a finite number greater than 0"),
    ("eval=pgd eval.tally=best", "one of final, worst"),
    ("eval=pgd eval.n_samples=0", "a whole number, 1 or more or null"),
    ("eval=square eval.queries=[1,1]", "square takes one or more different"),
    ("eval=square eval.batch_size=7", "square has no setting batch_size"),
    ("eval=autoattack eval.steps=0", "a whole number, 1 or more"),
    ("eval=boundary eval.space=latent", "one of pixel, normalised"),
    ("eval=boundary eval.clip=1", "true or false"),
    ("eval=boundary eval.tolerance=0", "a finite number greater than 0"),
    ("eval=jacobian eval.n_iter=0", "a whole number, 1 or more"),
    (
        f"{NOISE} methd=none",
        "methd is no setting and no column of runs.csv to choose runs by (did you mean method",
    ),
    (f"{NOISE} method.lam=0.1", "method.lam is no setting and no column"),
    (f"{NOISE} +method=none", "+method is no setting and no column"),
    (f"{NOISE} method=nnone", "method=nnone matches no run"),
    (f"{NOISE} method=none,spec", "method=spec matches no run"),
    (f"{NOISE} method=none,", "method= matches no run"),
    (f"{NOISE} dataset=fmnist", "dataset=fmnist matches no run"),
    (f"{NOISE} seed=7", "seed=7 matches no run"),
    (f"{NOISE} seed=0-2", "seed=0-2 matches no run"),
    (f"{NOISE} lam=0.1", "lam=0.1 matches no run"),
    (f"{NOISE} paths.result=x", "paths.result=x is unknown (did you mean paths.results?)"),
    (f"{NOISE} paths=x", "paths=x is unknown"),
    (f"{NOISE} paths.data=", "cannot read the argument 'paths.data='"),
    (f"{NOISE} paths.data=nowhere", "paths.data=nowhere is no folder"),
    (f"{NOISE} paths.results=README.md", "paths.results=README.md is no folder; name another"),
    ("eval=white_noise device=tpu", "device=tpu is not one of auto, cpu, gpu"),
    ("eval=white_noise -m", "cannot read the argument '-m'"),
    ("eval=mine", "eval=mine is unknown"),
    ("eval=mine --config-dir=nowhere", "--config-dir=nowhere is no folder"),
    ("eval=white_noise --config-dir", "--config-dir: expected one argument"),
    ("eval=mine eval._target_=nowhere.mine", "eval._target_=nowhere.mine cannot be imported"),
    (
        "eval=mine eval._target_=json.dumps",
        "eval._target_=json.dumps: skipkeys is no keyword of a plain type",
    ),
    ("eval=pgd eval._target_=json.dumps", "eval=pgd is an evaluation of jacexp's"),
]
REPORT = [
    ("foo", "cannot read the argument 'foo'"),
    ("--results", "cannot read the argument '--results'"),
    ("paths.results=", "cannot read the argument 'paths.results='"),
    ("paths.results=README.md", "is no folder"),
    ("paths.results=nowhere", "there is no result here yet"),
    ("select=test", "select=test is unknown"),
    ("select=Paper", "did you mean paper?"),
    ("select=paper select=holdout", "select is given twice"),
    ("paths.results=a --results b", "paths.results is given twice"),
    ("reference=no", "reference=no is neither true nor false"),
    ("referense=true", "did you mean reference?"),
]
TABLES_ALONE = [("result=x", "result is unknown (did you mean paths.results?)")]
FIGURES = [
    ("result=x", "'result' is no setting and no column of the runs (did you mean paths.results?)"),
    (
        "dataset=digit",
        "dataset=digit matches no run in your results and the reference (did you mean digits?)",
    ),
    ("methods=nnone", "method=nnone matches no run in your results and the reference (did you mean none?)"),
    ("methods=none,none", "methods=none,none has an empty name, or one twice"),
    ("methods=none,", "methods=none, has an empty name"),
    ("methods=none method=none", "method= and methods= are given"),
    ("methd=none", "did you mean method?"),
    ("dataset=digits by=lamb", "did you mean lam?"),
    ("dataset=digits eval=whitenoise", "eval=whitenoise is unknown (did you mean white_noise?)"),
    (
        "dataset=digits eval=pgd",
        "eval=pgd was measured on none of these runs: python scripts/evaluate.py eval=pgd",
    ),
    ("dataset=digits metric=val_los", "metric=val_los is unknown (did you mean val_loss?)"),
    ("dataset=digits metric=sigma1", "metric=sigma1 is unknown; there are val_loss, val_error, test_error"),
    ("dataset=digits grid=lam,lr,batch_size", "grid=lam,lr,batch_size has 3 keys, and a figure two axes"),
    ("dataset=digits grid=wdth", "'wdth' is no setting and no column"),
    ("dataset=digits grid=val_loss", "grid=val_loss is no key that settings of a method differ in"),
    ("dataset=digits grid=seed", "grid=seed is no key that settings"),
    ("dataset=digits by=test_accuracy", "by=test_accuracy is a result"),
    ("dataset=digits out=README.md", "out=README.md is no folder"),
    ("dataset=digits paths.results=README.md", "is no folder"),
    ("dataset=digits paths.results=nowhere", "there is no result here yet"),
    ("dataset=digits reference=yes", "reference=yes is neither true nor false"),
    ("dataset", "cannot read the argument 'dataset'"),
]
REPRODUCE = [
    ("--table p3", "table=p3 is not among p2-table1"),
    ("--method sepc", "method=sepc is not among"),
    ("--dataset svhn", "dataset=svhn is not among"),
    ("--table p2-table1 --method at", "method=at is not among"),
    ("--launcher threads", "invalid choice: 'threads'"),
    ("--dry-run", "unrecognized arguments: --dry-run"),
    ("--table", "expected one argument"),
    ("foo", "cannot read the argument 'foo'"),
    ("lam=0.1", "lam is unknown"),
    ("paths.results=README.md", "is no folder"),
    ("paths.results=README.md/a", "is no folder, for README.md is a file"),
    ("DRY=1", "DRY= is a variable of make reproduce-runs; here it is --dry"),
    ("METHOD=spec", "here it is --method spec"),
    ("RESULTS=mine", "here it is paths.results=mine"),
]
BENCHMARK = [
    ("", "the following arguments are required"),
    ("steps", "invalid choice: 'steps'"),
    ("step --networks lenets", "invalid choice: 'lenets'"),
    ("step --methods sepc", "invalid choice: 'sepc'"),
    ("step --batch-sizes x", "invalid int value: 'x'"),
    ("step --batch-sizes 0", "--batch-sizes 0 cannot be timed"),
    ("step --repetitions 0", "--repetitions 0 cannot be timed"),
    ("step --warmup -1", "--warmup -1 is no number"),
    ("step --threads 0", "--threads 0 cannot be timed"),
    ("step --device tpu", "--device tpu is unknown"),
    ("step --out nowhere/steps", "there is no folder nowhere"),
    ("step --results README.md", "is no folder"),
    ("lightning --steps 0", "--steps 0 cannot be timed"),
    ("sweep --n-jobs 0", "--n-jobs 0 cannot be timed"),
    *((f"sweep --{key} 0", "cannot be timed") for key in ("networks", "repetitions", "steps", "batch-size")),
    *((f"profile --{key} 0", "cannot be timed") for key in ("networks", "steps", "batch-size")),
    ("profile --device cuda", "PyTorch sees no GPU"),
]
STATUS = [
    ("--watch -1", "-1 is no number of seconds above 0"),
    ("--watch nan", "nan is no number of seconds above 0"),
    ("--watch soon", "argument --watch: invalid seconds value: 'soon'"),
    ("--results README.md", "is no folder"),
    ("paths.results=README.md", "is no folder"),
    ("nowhere", "nowhere holds no sweep"),
]
DEMO = [("foo", "the demo takes no arguments"), ("train.epochs=1", "the demo takes no arguments")]
CASES = [
    *(("evaluate", *case) for case in EVALUATE),
    *((name, *case) for name in ("tables", "figures") for case in REPORT if case[0] != "referense=true"),
    *(("tables", *case) for case in TABLES_ALONE),
    *(("figures", *case) for case in FIGURES),
    *(("reproduce", *case) for case in REPRODUCE),
    *(("benchmark", *case) for case in BENCHMARK),
    *(("demo", *case) for case in DEMO),
    *(("sweep_status", *case) for case in STATUS),
]


@pytest.fixture(scope="module")
def mains():
    """The main of each command."""
    found = {}
    for name in ("evaluate", "figures", "reproduce", "benchmark", "demo", "tables"):
        found[name] = importlib.import_module(f"jacexp.commands.{name}").main
    found["sweep_status"] = importlib.import_module("jacexp.commands.status").main
    return found


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A folder to work in, with one run in the default place."""
    folder = tmp_path_factory.mktemp("work")
    (folder / "README.md").write_text("no folder")
    add_run(folder / "my_results")
    merge_runs(folder / "my_results")
    return folder


@pytest.fixture
def typed(mains, monkeypatch, capsys):
    """Type a command line; how it ended, and what was printed."""

    def enter(name, words):
        monkeypatch.setattr("torch.cuda.is_available", lambda: False)
        monkeypatch.setattr(sys, "argv", [f"{name}.py", *words.split()])
        with pytest.raises(SystemExit) as ended:
            run_script(mains[name])
        return (ended.value.code, *capsys.readouterr())

    return enter


def contents(folder):
    return {path: path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


@pytest.mark.parametrize(("name", "words", "says"), CASES, ids=lambda text: text[:40])
def test_a_wrong_command_line_is_one_line_and_writes_nothing(typed, store, monkeypatch, name, words, says):
    monkeypatch.chdir(store)
    before = contents(store)
    status, out, errors = typed(name, words)
    assert (status, out) == (1, "")
    assert errors.startswith("error: ")
    assert says in errors
    assert errors.count("\n") == 1
    assert contents(store) == before


TABLES = {"runs.csv": RUNS, "curves.csv": CURVES, "timing.csv": TIMING}
DAMAGES = {
    "not UTF-8": (lambda path: path.write_bytes(b"\xff\xfe\x00"), "cannot be read"),
    "a folder": (lambda path: path.mkdir(), "cannot be read"),
    "empty": (lambda path: path.write_bytes(b""), "is empty, without even a header"),
    "foreign": (lambda path: path.write_text("a,b\n"), "lacks the column 'run' and"),
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("name", ["tables", "figures"])
def test_a_damaged_table_is_one_line_and_writes_nothing(typed, tmp_path, name, table, damage):
    for other in set(TABLES) - {table}:
        (tmp_path / other).write_text(",".join(TABLES[other]) + "\n")
    harm, says = DAMAGES[damage]
    harm(tmp_path / table)
    before = contents(tmp_path)
    status, out, errors = typed(name, f"paths.results={tmp_path}")
    assert (status, out, errors.count("\n")) == (1, "", 1)
    assert errors.startswith(f"error: {tmp_path / table}: ")
    assert says.replace("'run'", "'name'" if table == "timing.csv" else "'run'") in errors
    assert contents(tmp_path) == before


@pytest.mark.parametrize("damage", ["not UTF-8", "a folder", "foreign"])
def test_a_damaged_table_of_curves_is_found_before_anything_is_measured(
    typed, mains, tmp_path, monkeypatch, damage
):
    add_run(tmp_path)
    DAMAGES[damage][0](tmp_path / "curves.csv")
    monkeypatch.setitem(
        mains["evaluate"].__globals__, "evaluate_run", lambda *_, **__: pytest.fail("measured")
    )
    status, out, errors = typed("evaluate", f"{NOISE} paths.results={tmp_path}")
    assert (status, out, errors.count("\n")) == (1, "", 1)
    assert errors.startswith(f"error: {tmp_path / 'curves.csv'}: ")


def test_a_folder_that_cannot_be_written_is_found_before_anything_is_measured(
    typed, mains, tmp_path, monkeypatch
):
    add_run(tmp_path)
    (tmp_path / "samples").write_text("no folder")
    monkeypatch.setitem(
        mains["evaluate"].__globals__, "evaluate_run", lambda *_, **__: pytest.fail("measured")
    )
    status, _, errors = typed("evaluate", f"eval=boundary device=cpu paths.results={tmp_path}")
    assert (status, errors.count("\n")) == (1, 1)
    assert f"{tmp_path} cannot be written" in errors


@pytest.mark.parametrize("name", ["evaluate", "tables", "figures", "demo"])
def test_help_is_printed_and_nothing_done(typed, store, monkeypatch, name):
    monkeypatch.chdir(store)
    before = contents(store)
    status, out, errors = typed(name, "--help")
    assert (status, errors) == (0, "")
    assert len(out) > 60
    assert contents(store) == before


def test_a_reader_that_goes_early_is_no_error(tmp_path):
    (tmp_path / "runs.csv").write_text(",".join(RUNS) + "\n")
    (tmp_path / "curves.csv").write_text(",".join(CURVES) + "\n")
    row = dict.fromkeys(TIMING, "1") | {"name": "step", "model": "lenet", "method": "spec", "started": "2025"}
    (tmp_path / "timing.csv").write_text(f"{','.join(TIMING)}\n{','.join(row[c] for c in TIMING)}\n")
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, str(ROOT / "scripts" / "tables.py"), f"paths.results={tmp_path}"]
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, "")
    assert (tmp_path / "scorecard.csv").exists()
