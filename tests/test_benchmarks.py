"""The benchmarks run: their smoke run gives a table, JSON and a chart with a row for each workload.

Nothing is said of how fast anything is.
"""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

import tusd_s3
from benchmarks import chart, report
from benchmarks.growth import growth_workloads
from benchmarks.load import payload
from benchmarks.options import parse
from benchmarks.publish import GROWTH, RESULTS
from benchmarks.samples import Column, Results, Row, Sample
from benchmarks.servers import NULL, OURS, SERVERS
from benchmarks.workloads import Scale, Workload, workloads

ROOT = Path(tusd_s3.__file__).resolve().parents[1]
WITHIN_S = 400.0
"""Half a minute on a machine that has nothing else to do; with the other tests beside it, more."""


needs_matplotlib = pytest.mark.skipif(
    find_spec("matplotlib") is None and os.environ.get("REQUIRE_CLIENTS") != "1",
    reason="matplotlib is not installed",
)


def run(output: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command, with a directory of the test's own for everything it leaves."""
    scratch = output / "scratch"
    scratch.mkdir(parents=True)
    command = [sys.executable, "-m", "benchmarks", *arguments, "--output", str(output)]
    done = subprocess.run(
        [*command, "--scratch", str(scratch)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=WITHIN_S,
        check=False,
    )
    assert list(scratch.iterdir()) == [], "data is left behind"
    return done


@pytest.fixture(scope="module")
def smoke(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the smoke run has written."""
    output = tmp_path_factory.mktemp("benchmarks")
    done = run(output, "--smoke")
    assert done.returncode == 0, done.stdout + done.stderr
    (output / "stdout").write_text(done.stdout)
    return output


@pytest.mark.long
@pytest.mark.timeout(WITHIN_S + 20)
def test_the_smoke_run_measures_every_workload_on_this_server_and_the_floor(smoke: Path) -> None:
    results = Results.load(smoke / f"{RESULTS}.json")
    measured = {(one.workload, one.server) for one in results.samples}
    names = [one.name for one in workloads(Scale.SMOKE)]
    assert measured == {(name, server.name) for name in names for server in (OURS, NULL)}
    assert [one for one in results.samples if one.failed] == []
    assert all(one.wall_s > 0 and one.peak_bytes > 0 for one in results.samples)
    ours = [one for one in results.samples if one.server == OURS.name]
    assert sum(one.calls for one in ours) > 0


@pytest.mark.long
@pytest.mark.timeout(WITHIN_S + 20)
def test_the_table_has_a_row_for_every_workload(smoke: Path) -> None:
    table = (smoke / "stdout").read_text()
    assert table == (smoke / f"{RESULTS}.md").read_text()
    for workload in workloads(Scale.SMOKE):
        assert f"| {workload.text}" in table
    assert "failed" not in table


@pytest.mark.long
@pytest.mark.timeout(WITHIN_S + 20)
@needs_matplotlib
def test_the_smoke_run_draws_a_chart(smoke: Path) -> None:
    assert (smoke / f"{RESULTS}.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (
            "stalls --count 2 --size-mib 9",
            ["HEAD:", "garbage collections:", "beats that came late"],
        ),
        (
            "stalls --count 1 --size-mib 9 --loop asyncio",
            ["HEAD:", "garbage collections:", "callbacks by their longest CPU time"],
        ),
        (
            "workers --rounds 1 --only head --connections 4",
            ["2 worker(s)", "connections", "ratio:"],
        ),
    ],
)
def test_a_closer_look_runs(arguments: str, told: list[str], tmp_path: Path) -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            *f"benchmarks.micro.{arguments}".split(),
            "--scratch",
            str(tmp_path),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=WITHIN_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert [words for words in told if words not in done.stdout] == []
    assert list(tmp_path.iterdir()) == [], "data is left behind"


# --- without running anything ---------------------------------------------------------------------


def made_up(chosen: list[Workload], failed: str | None = None) -> Results:
    """Results of all servers; those of one of them failed if a reason is given."""
    last = list(SERVERS)[-2]
    return Results(
        command="python -m benchmarks",
        began="2026-01-01",
        machine={"processor": "1 core"},
        repetitions=2,
        rows=[
            Row(one.name, one.text, one.unit, one.workers, dict(one.figures), one.point)
            for one in chosen
        ],
        columns=[
            Column(kind.name, kind.title, "1.0", kind.note, kind.workers)
            for kind in SERVERS.values()
        ],
        samples=[
            Sample(
                workload=workload.name,
                server=name,
                repetition=repetition,
                wall_s=1.0 + place + repetition,
                cpu_user_s=0.5 * (place + 1),
                peak_bytes=2**25 * (place + 1),
                requests=10,
                body_bytes=2**30,
                s3_calls={"PUT": 3},
                figures=dict.fromkeys(workload.figures, 1.0),
                failed=failed if name == last else None,
            )
            for workload in chosen
            for place, name in enumerate(SERVERS)
            for repetition in range(2)
        ],
    )


def test_results_survive_json(tmp_path: Path) -> None:
    results = made_up(growth_workloads(Scale.SMOKE))
    results.save(tmp_path / "results.json")
    assert Results.load(tmp_path / "results.json") == results


def test_a_failure_is_shown_with_its_reason_and_not_dropped() -> None:
    text = report.markdown(made_up(workloads(Scale.SMOKE), failed="it fell over"))
    assert "failed [1]" in text
    assert "- [1] it fell over" in text


def test_a_server_that_is_not_here_is_named() -> None:
    results = made_up(workloads(Scale.SMOKE))
    results.columns[1] = Column("tusd", "tusd", "—", "", workers=False, absent="needs go on PATH")
    assert "- tusd: needs go on PATH" in report.markdown(results)


@needs_matplotlib
@pytest.mark.parametrize("chosen", [workloads(Scale.FULL), growth_workloads(Scale.FULL)])
def test_both_charts_can_be_drawn(chosen: list[Workload], tmp_path: Path) -> None:
    assert chart.draw(made_up(chosen, failed="no"), tmp_path / "chart.png") == "chart.png"
    assert (tmp_path / "chart.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("start", [0, 1, payload.PERIOD_BYTES - 1, 3 * payload.PERIOD_BYTES + 5])
def test_pieces_of_a_body_are_the_body_whichever_way_it_is_cut(start: int) -> None:
    end = start + 2 * payload.PERIOD_BYTES + 7
    whole = b"".join(payload.pieces(9, 0, end))
    assert len(whole) == end
    assert b"".join(payload.pieces(9, start, end)) == whole[start:]


def test_the_command_that_is_shown_names_no_directory() -> None:
    options = parse(["--quick", "--output", "/somewhere/private", "--only", "large"])
    assert options.command == "python -m benchmarks --quick --only large"


@pytest.mark.parametrize(
    "wrong",
    [["--only", "nothing"], ["--server", "nobody"], ["--part-mib", "4"], ["--repeat", "0"],
     ["--smoke", "--quick"]],
)  # fmt: skip
def test_a_wrong_option_is_refused(wrong: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        parse(wrong)
    assert ended.value.code == 2
    assert "error:" in capsys.readouterr().err


def test_the_readme_has_a_place_for_each_table() -> None:
    text = (ROOT / "benchmarks/README.md").read_text()
    for name in (RESULTS, GROWTH):
        assert text.count(f"<!-- {name} -->") == text.count(f"<!-- end of {name} -->") == 1


def test_the_readme_names_every_workload_and_every_server() -> None:
    text = (ROOT / "benchmarks/README.md").read_text()
    for workload in workloads(Scale.FULL):
        assert f"`{workload.name}`" in text
    for name in SERVERS:
        assert f"`{name}`" in text
