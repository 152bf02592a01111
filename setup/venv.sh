#!/bin/sh
# The virtual environment .venv with the versions of requirements.lock and this checkout installed as editable.
#
# Needs python3 of version 3.11 or later (set PYTHON to choose one) and nothing else: where Debian has split the parts
# that make virtual environments into packages which are not installed, pip comes from one of them, unpacked privately;
# see debian.sh. Does nothing when .venv is up to date.
set -eu

setup=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
root=$(dirname -- "$setup")
venv=$root/.venv
. "$setup/debian.sh"

# Whether this is a Python that will do.
suits() {
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
}

# The first Python that will do.
choose_python() {
    for candidate in ${PYTHON:-python3 python3.13 python3.12 python3.11 /usr/bin/python3}; do
        if command -v "$candidate" >/dev/null && suits "$candidate"; then
            command -v "$candidate"
            return
        fi
    done
    die "needs python3 of version 3.11 or later; set PYTHON=PATH if it has another name"
}

# A virtual environment with pip, on a Python without ensurepip (Debian without python3-venv).
venv_with_debian_pip() {
    "$python" -m venv --without-pip --clear "$venv" || die "python3 could not make a virtual environment in $venv"
    debian_available || die "this python3 has no ensurepip; install the package that brings it (python3-venv)"
    say "venv: this python3 has no ensurepip; taking pip from Debian's python3-pip-whl (nothing installed)"
    debian_open "$venv/apt"
    if ! debian_fetch_only python3-pip-whl || ! debian_unpack "$venv/pip"; then
        tail -n 5 "$venv/apt/log" >&2
        die "could not download python3-pip-whl; install python3-venv instead"
    fi
    wheel=$(find "$venv/pip" -name 'pip-*.whl' | head -n 1)
    PYTHONPATH=$wheel "$venv/bin/python" -m pip install -qq --disable-pip-version-check --no-index "$wheel"
    debian_close
    rm -rf "$venv/pip"
}

pip_install() {
    "$venv/bin/python" -m pip install -qq --disable-pip-version-check --no-input "$@"
}

exec 9<"$setup"
flock 9     # two make runs at once: the second waits and then finds the work done

python=$(choose_python)
# Two parts, because tool settings in pyproject.toml change more often than versions do.
locked=$("$python" -V; cat "$setup/venv.sh" "$root/requirements.lock" | cksum)
project=$(cksum <"$root/pyproject.toml")

# A .venv that was moved with its checkout points at the old place, so its own path counts too.
if [ "$(cat "$venv/locked" 2>/dev/null)" != "$venv $locked" ]; then
    say "venv: making .venv with $("$python" -V) ($python)"
    if ! "$python" -m venv --clear "$venv" >/dev/null 2>&1 || ! [ -x "$venv/bin/pip" ]; then
        venv_with_debian_pip
    fi
    say "venv: installing the versions of requirements.lock"
    pip_install --require-hashes -r "$root/requirements.lock" || die "could not install requirements.lock (above)"
    echo "$venv $locked" >"$venv/locked"
fi
if [ "$(cat "$venv/project" 2>/dev/null)" != "$project" ]; then
    pip_install --no-deps --no-build-isolation --editable "$root" || die "could not install the gateway (above)"
    echo "$project" >"$venv/project"
fi
say "venv: ready in .venv"
