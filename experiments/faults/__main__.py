"""Injects faults: damaged and hostile files, kills, concurrent writers, extreme numbers.

    python -m experiments.faults                            all attacks; 20 minutes on a CPU core
    python -m experiments.faults --preset quick             the part that the tests run; a minute
    python -m experiments.faults --attacks metrics,records --seed 3
    python -m experiments.faults --attacks metrics --case 17      repeats one case, and prints it

Every case survives, is refused in words, is silent, or crashes (`experiments.faults.attacks`
has the definitions). The last two must not happen: each such case is a line of `log.jsonl`
in the folder, and the command exits with 1.
"""

import collections
import json
import pathlib
import shutil
import time

from experiments.faults import disks, extreme_numbers, hostile_files, mutations, processes
from experiments.faults.attacks import OUTCOMES, Attack, generator
from experiments.lib import cli, fault_tables, records

ATTACKS = {
    attack.name: attack
    for module in (mutations, hostile_files, processes, disks, extreme_numbers)
    for attack in module.ATTACKS
}


def carry_out(attack: Attack, count: int, seed: int, folder: pathlib.Path) -> dict:
    """Runs an attack: the figures of its record.

    Silent and crashed cases are appended to `log.jsonl` in the folder.
    """
    outcomes, seconds, megabytes = collections.Counter(), 0.0, 0.0
    place = _empty(folder / attack.name)
    for case, found in enumerate(attack.run(generator(seed, attack.name), count, place)):
        outcomes[found.outcome] += 1
        seconds, megabytes = max(seconds, found.seconds), max(megabytes, found.megabytes)
        if found.outcome in ("silent", "crashed"):
            line = {"attack": attack.name, "seed": seed, "case": case, **found._asdict()}
            with (folder / "log.jsonl").open("a") as log:
                log.write(json.dumps(line) + "\n")
    shutil.rmtree(place)
    figures = {"count": sum(outcomes.values())} | {k: outcomes[k] for k in OUTCOMES}
    return figures | {"seconds_max": round(seconds, 2), "megabytes_max": round(megabytes, 1)}


def _empty(folder):
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    parser = cli.folders(cli.command("faults", __doc__))
    parser.add_argument("--preset", choices=("quick", "full"), default="full")
    parser.add_argument("--attacks", default="", help="comma-separated; all if not given")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--case", type=int, help="repeats one case of one attack, and prints it")
    options = cli.prepare(parser.parse_args(arguments))
    names = cli.select(options.attacks, ATTACKS, ATTACKS)
    folder = options.folder / "faults" / options.preset
    folder.mkdir(parents=True, exist_ok=True)
    if options.case is not None:
        if len(names) != 1:
            raise SystemExit("expected --case with one of --attacks")
        rng, place = generator(options.seed, names[0], options.case), _empty(folder / names[0])
        for found in ATTACKS[names[0]].run(rng, 1, place):
            print(
                f"{found.outcome}, {found.seconds:.2f} s, {found.megabytes:.0f} MB: {found.words}"
            )
        return
    (folder / "log.jsonl").unlink(missing_ok=True)
    found = []
    for name in names:
        begin, attack = time.monotonic(), ATTACKS[name]
        count = attack.quick if options.preset == "quick" else attack.count
        record = {"experiment": "faults", "row": name, "words": attack.words}
        record |= {"preset": options.preset, "seed": options.seed, "parameters": 0, "steps": 0}
        record["metrics"] = carry_out(attack, count, options.seed, folder)
        record["seconds"] = round(time.monotonic() - begin, 1)
        found.append(records.append(record, options.results))
        print(f"{name}, {record['seconds']} s: {record['metrics']}", flush=True)
    print(fault_tables.table(found))
    if wrong := [r["row"] for r in found if r["metrics"]["silent"] or r["metrics"]["crashed"]]:
        raise SystemExit(f"silent or crashed cases in {', '.join(wrong)}: {folder / 'log.jsonl'}")


if __name__ == "__main__":
    cli.run(main)
