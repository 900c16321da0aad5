# Sourced by the tools, from the project's folder: what they need is there afterwards, or the script ends with a
# message. Does nothing that is done already.

# leave_environment: forgets an activated environment, whose commands would hide others of the same name: pynetdicom
# brings a storescu, dcmtk another one.
leave_environment() {
    local folder kept=()
    while IFS= read -r -d : folder; do
        case $folder in "${VIRTUAL_ENV:-$PWD/.venv}/bin" | "$PWD/.venv/bin") ;; *) kept+=("$folder") ;; esac
    done <<<"$PATH:"
    PATH=$(IFS=: && echo "${kept[*]}")
    export PATH
    unset VIRTUAL_ENV
}

# need_packages COMMAND=PACKAGE...: installs the Debian packages whose command is missing.
need_packages() {
    local pair missing=()
    for pair in "$@"; do
        command -v "${pair%%=*}" >/dev/null || missing+=("${pair#*=}")
    done
    [ ${#missing[@]} -eq 0 ] || install_packages "${missing[@]}"
}

install_packages() {
    if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
        echo "Missing Debian packages; install them with: sudo apt-get install $*" >&2
        exit 2
    fi
    echo "Installing Debian packages: $*" >&2
    apt_install "$@" 2>/dev/null || { apt-get update -qq && apt_install "$@"; } || exit 2
}

# need_program COMMAND PACKAGE PATH: has a program in the path or in .venv/bin, without what its whole package would
# start: Debian's of Prometheus and nginx are services.
need_program() {
    command -v "$1" >/dev/null || [ -x ".venv/bin/$1" ] || fetch_program "$@" || {
        echo "$1 is needed; install it with: sudo apt-get install $2" >&2
        exit 2
    }
}

fetch_program() {
    local folder
    folder=$(mktemp -d)
    echo "Taking $1 out of Debian's package $2" >&2
    (cd "$folder" && { apt-get download -qq "$2" || { apt-get update -qq && apt-get download -qq "$2"; }; }) \
        >/dev/null 2>&1 &&
        dpkg-deb --fsys-tarfile "$folder/$2"_*.deb | tar -x -O "$3" >"$folder/$1" &&
        install -m 755 "$folder/$1" ".venv/bin/$1"
    local status=$?
    rm -rf "$folder"
    return "$status"
}

# need_unpacked COMMAND PACKAGE...: has a program, with its modules and what the system has not of its libraries, below
# .venv/debian: Debian's of rsyslog and syslog-ng are services, and only one of them can be installed.
need_unpacked() {
    command -v "$1" >/dev/null || [ -x ".venv/debian/usr/sbin/$1" ] || unpack "${@:2}" || {
        echo "$1 is needed; install it with: sudo apt-get install ${*:2}" >&2
        exit 2
    }
}

unpack() {
    local folder status
    folder=$(mktemp -d)
    mkdir "$folder/partial"
    echo "Unpacking Debian packages: $*" >&2
    { download_for "$folder" "$@" || { apt-get update -qq && download_for "$folder" "$@"; }; } >/dev/null 2>&1 &&
        mkdir -p .venv/debian &&
        find "$folder" -name '*.deb' -exec dpkg-deb -x {} .venv/debian \;
    status=$?
    rm -rf "$folder"
    return "$status"
}

# download_for FOLDER PACKAGE...: gets the packages and those they depend on that are not installed.
download_for() {
    apt-get install -qq --download-only --no-install-recommends \
        -o Debug::NoLocking=1 -o "Dir::Cache::archives=$1" "${@:2}"
}

# need_node_packages NAME@VERSION...: has packages of npm in .venv/clients, installed again when these change.
need_node_packages() {
    [ "$(cat .venv/clients/installed 2>/dev/null)" != "$*" ] || return 0
    mkdir -p .venv/clients
    echo "Installing $* into .venv/clients" >&2
    (cd .venv/clients && npm install --silent --no-save "$@" >/dev/null) || exit 2
    echo "$*" >.venv/clients/installed
}

apt_install() {
    DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends "$@" >/dev/null
}

# need_venv [EXTRA]: makes .venv and installs minipacs and the extra's packages into it, again when they change.
need_venv() {
    local extra=${1:+[$1]} wanted
    wanted=$(printf '%s\n' "$PWD" "$extra" | cat - setup.cfg pyproject.toml | sha256sum)
    local stamp=.venv/installed${1:+-$1}
    [ "$(cat "$stamp" 2>/dev/null)" != "$wanted" ] || return 0
    .venv/bin/python -m pip --version >/dev/null 2>&1 || make_venv
    echo "Installing minipacs$extra into .venv" >&2
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-input --editable ".$extra"
    echo "$wanted" >"$stamp"
}

make_venv() {
    local python
    python=$(find_python) || {
        install_packages python3 python3-venv
        python=$(find_python)
    } || {
        echo "Python 3.11 or newer is needed, with its venv module; PYTHON=/path/to/python3 names one" >&2
        exit 2
    }
    "$python" -m venv --clear .venv
}

find_python() {
    local python
    for python in ${PYTHON:-python3 python3.13 python3.12 python3.11}; do
        "$python" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || continue
        echo "$python"
        return 0
    done
    return 1
}
