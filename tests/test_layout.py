"""The repository itself: modules explained, tested and of readable size; nothing of one machine in it."""

import ast
import re
import subprocess
from pathlib import Path, PurePosixPath

REPOSITORY = Path(__file__).resolve().parent.parent
PACKAGE = REPOSITORY / "gateway"
TESTS = REPOSITORY / "tests"
MODULES = sorted(PACKAGE.rglob("*.py"))

MODULE_LINES_LIMIT = 600
"""Lines of one module; 50 to 250 are the norm, and beyond 400 there is usually a second noun to be found."""

COVERED_BY = {
    "config/keys.py": "config/test_loading.py",
    "domain/access.py": "store/test_tokens.py",
    "domain/document.py": "documents/test_attach.py",
    "log/logger.py": "log/test_setup.py",
    "ops/anatomy_shapes.py": "ops/test_anatomy.py",
    "ops/bench/forwarder.py": "ops/bench/test_cases.py",
    "ops/bench/ready.py": "ops/bench/test_peers.py",
    "ops/bench/relay.py": "ops/bench/test_cases.py",
    "ops/bench/sender.py": "ops/bench/test_peers.py",
    "ops/bench/sink.py": "ops/bench/test_peers.py",
    "ops/bench/ways.py": "ops/bench/test_cases.py",
    "ops/guard.py": "ops/test_counterparts.py",
    "ops/middleman.py": "ops/test_witness.py",
    "ops/process.py": "ops/test_counterparts.py",
    "scu/orthanc_answers.py": "scu/test_orthanc.py",
    "scu/orthanc_http.py": "scu/test_orthanc_failures.py",
    "store/blanks.py": "store/test_spool.py",
    "store/syncs.py": "store/test_spool.py",
    "store/tables.py": "store/test_migrate.py",
}
"""Modules without a test module of their own, and the one that covers them; below `gateway/` and `tests/`."""

WITHOUT_TESTS = re.compile(r"(^|/)__(init|main)__\.py$|/migrations/")
"""Modules with nothing to test on their own: the migrations are all run by the tests of the store."""

FORBIDDEN_IMPORTS = {
    "marshal": "runs code hidden in data",
    "pickle": "runs code hidden in data",
    "shelve": "runs code hidden in data",
    "pytest": "the product does not need its tests",
    "tests": "the product does not need its tests",
    "unittest": "the product does not need its tests",
    "xml": "expands entities; XML is read by lxml without them",
}
"""Never imported by the gateway, and why. Which part may import what is in the import contracts."""

UNFINISHED = re.compile("TO" + "DO|FIX" + "ME|XX" + "X:|Not" + "ImplementedError")
"""Words of work left undone; in two parts, so as not to find itself."""

REGISTRIES = re.compile(r"pypi\.o" + r"rg|pythonhosted\.o" + r"rg|debian\.o" + r"rg/debian|npmjs\.o" + "rg")
"""Package indexes: which one is used is each machine's own setting."""

HIDDEN = re.compile(r"(^|/)(\.(?!ci/)|__pycache__/)")
"""What is made in a checkout and no part of it: environments and caches."""

MACHINE_PATHS = re.compile(r"(?<![\w.$})*])/(work|root|home/\w+|Users/\w+|tmp/w)/")
"""Absolute paths of somebody's machine."""


def name(path: Path) -> str:
    """How a file of the repository is called in a failure."""
    return path.relative_to(REPOSITORY).as_posix()


def tracked_files() -> list[Path]:
    """Every file of the repository, those about to be added included."""
    listing = subprocess.run(
        ["/usr/bin/env", "git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    if listing.returncode != 0:  # an unpacked copy without its history
        files = (path for path in REPOSITORY.rglob("*") if not HIDDEN.search(path.relative_to(REPOSITORY).as_posix()))
    else:
        files = (REPOSITORY / line for line in listing.stdout.split("\0") if line)
    return [file for file in files if file.is_file()]


def lines_with(pattern: re.Pattern[str]) -> list[str]:
    """Each line of the repository that `pattern` is found in, with its place; only text files have lines."""
    found: list[str] = []
    for file in tracked_files():
        try:
            lines = file.read_text(encoding="utf-8").splitlines()
        except UnicodeDecodeError:
            continue
        places = enumerate(lines, start=1)
        found += [f"{name(file)}:{number}: {line.strip()}" for number, line in places if pattern.search(line)]
    return found


def imported_packages(module: Path) -> set[str]:
    """Top-level packages that `module` imports anywhere in it."""
    packages: set[str] = set()
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        match node:
            case ast.Import(names=names):
                packages |= {alias.name.partition(".")[0] for alias in names}
            case ast.ImportFrom(module=str(source), level=0):
                packages.add(source.partition(".")[0])
    return packages


def covering_test(below: str) -> Path:
    """The test module of the module at `below`, a path below `gateway/`."""
    own = PurePosixPath(below)
    return TESTS / COVERED_BY.get(below, str(own.with_name(f"test_{own.name}")))


def test_modules_say_what_they_are_for() -> None:
    silent = [name(m) for m in MODULES if not ast.get_docstring(ast.parse(m.read_text(encoding="utf-8")))]

    assert silent == []


def test_modules_are_of_readable_size() -> None:
    lines = {name(module): len(module.read_text(encoding="utf-8").splitlines()) for module in MODULES}

    assert {module: count for module, count in lines.items() if count > MODULE_LINES_LIMIT} == {}


def test_modules_are_tested() -> None:
    modules = [module.relative_to(PACKAGE).as_posix() for module in MODULES]
    tested = [below for below in modules if not WITHOUT_TESTS.search(below)]

    assert [below for below in tested if not covering_test(below).is_file()] == []


def test_list_of_covered_modules_is_current() -> None:
    own = {below: PurePosixPath(below).with_name(f"test_{PurePosixPath(below).name}") for below in COVERED_BY}

    assert [below for below in COVERED_BY if not (PACKAGE / below).is_file()] == []
    assert [below for below in COVERED_BY if (TESTS / own[below]).is_file()] == []


def test_modules_import_nothing_forbidden() -> None:
    found = {name(module): imported_packages(module) & FORBIDDEN_IMPORTS.keys() for module in MODULES}

    assert {module: packages for module, packages in found.items() if packages} == {}


def test_tests_fake_nothing_of_ours() -> None:
    assert [name(test) for test in TESTS.rglob("*.py") if "unittest" in imported_packages(test)] == []


def test_nothing_is_left_unfinished() -> None:
    assert lines_with(UNFINISHED) == []


def test_no_package_index_is_named() -> None:
    assert lines_with(REGISTRIES) == []


def test_no_path_of_a_machine_is_named() -> None:
    assert lines_with(MACHINE_PATHS) == []
