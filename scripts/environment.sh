# Sourced by brainmeta_prediction.sh and scripts/test: makes a virtual environment, and keeps it up to date.
#
#   ensure_environment CHECKOUT VENV TARGET    VENV holds the checkout, installed editable as TARGET ("." or ".[dev]").
#
# VENV/.complete is written last and holds all that the environment depends on. An environment without it was
# interrupted and is made anew; one with another content is brought up to date; one with the same is used at once.

say() { printf '%s\n' "$*" >&2; }

# Prints the first Python that is new enough. A name on PATH may be a stub that does not run: so each is tried.
find_python() {
    local candidate
    for candidate in python3.11 python3.12 python3.13 python3.14 python3 python; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then
            printf '%s\n' "$candidate"
            return 0
        fi
    done
    say "metseg needs Python 3.11 or newer, and there is none on the PATH. Install it (Debian: apt install python3)."
    return 1
}

# What an environment depends on. The path counts, because virtual environments cannot be moved.
environment_key() {
    printf '%s\n%s\n' "$1" "$3"
    cat -- "$1/pyproject.toml" "$1/constraints.txt"
}

create_environment() {
    local venv=$1 python
    python=$(find_python) || return 1
    if ! "$python" -c 'import ensurepip, venv' >/dev/null 2>&1; then
        say "This Python cannot make virtual environments. Install its venv module (Debian: apt install python3-venv)."
        return 1
    fi
    rm -rf -- "$venv"
    "$python" -m venv "$venv"
}

# Is the environment whole, of this checkout, and does it still run?
environment_ready() {
    local venv=$1 key=$2
    [[ -e $venv/.complete && $(<"$venv/.complete") == "$key" ]] && "$venv/bin/python" -c 'import metseg' 2>/dev/null
}

# Can it be brought up to date in place: was it whole, of this checkout, and does it still run?
environment_reusable() {
    local checkout=$1 venv=$2
    [[ -e $venv/.complete && $(head -n 1 -- "$venv/.complete") == "$checkout" ]] &&
        "$venv/bin/python" -m pip --version >/dev/null 2>&1
}

install_checkout() {
    local checkout=$1 venv=$2 target=$3
    cd -- "$checkout" && "$venv/bin/python" -m pip install -qq --no-input --disable-pip-version-check \
        --constraint constraints.txt --editable "$target" </dev/null >&2
}

ensure_environment() {
    local checkout=$1 venv=$2 target=$3 key
    key=$(environment_key "$@")
    environment_ready "$venv" "$key" && return 0
    # Only one of several runs installs; the others wait for it. The lock ends with its holder, however that ends.
    if command -v flock >/dev/null 2>&1; then
        exec 9>"$venv.lock"
        flock --nonblock 9 || { say "Waiting for another run that installs metseg ..." && flock 9; }
        environment_ready "$venv" "$key" && exec 9>&- && return 0
    fi
    say "Installing metseg into $venv (once; it takes a minute or two) ..."
    environment_reusable "$checkout" "$venv" || create_environment "$venv" || return 1
    rm -f -- "$venv/.complete"
    if ! (install_checkout "$checkout" "$venv" "$target"); then
        say "metseg could not be installed; the lines above say why. A package index must be within reach this once."
        return 1
    fi
    printf '%s\n' "$key" >"$venv/.complete.new"
    mv -f -- "$venv/.complete.new" "$venv/.complete"
    exec 9>&-
}
