# Shared by the scripts: the environments, and the builds of the extension that go into them. Source it.
#
#   .venv                      development: test and lint tools, the extension from Cargo's dev profile, in place
#   .cache/release             demo and benchmark: other clients, and an installed release wheel of the package
#   .cache/conformance/venv    the packages that the suites of httpcore and httpx need; the extension of .venv
#   .cache/downstream          environments with SDKs, and with suites of other packages; the extension of .venv
#   .cache/site/venv           what builds the documentation site; the extension of .venv
#
# Each step leaves a stamp with a hash of its inputs, and is skipped while that hash stays the same.
# PYTHON names the interpreter that the environments are made with (default: python3).
# shellcheck shell=bash

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
dev_venv="$root/.venv"
release_venv="$root/.cache/release"
conformance_venv="$root/.cache/conformance/venv"
downstream="$root/.cache/downstream"
docs_venv="$root/.cache/site/venv"
export PIP_DISABLE_PIP_VERSION_CHECK=1
cd "$root"

say() {
    if [[ -t 2 ]]; then printf '\033[1m==>\033[0m %s\n' "$*" >&2; else printf '==> %s\n' "$*" >&2; fi
}

# hash_of NAME...: one hash over the given words, and over the contents of those that are files or folders. Results of
# builds (extension modules, bytecode) do not count.
hash_of() {
    "${PYTHON:-python3}" - "$@" <<'PYTHON'
import hashlib, pathlib, sys

digest = hashlib.sha256(sys.version.encode())
for word in sys.argv[1:]:
    path = pathlib.Path(word)
    files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path] if path.is_file() else []
    digest.update(word.encode() + b"\0")
    for file in files:
        if file.suffix not in {".so", ".pyd", ".pyc"}:
            digest.update(str(file).encode() + b"\0" + hashlib.sha256(file.read_bytes()).digest())
print(digest.hexdigest())
PYTHON
}

# once STAMP HASH COMMAND...: runs the command unless the stamp already holds that hash.
once() {
    local stamp=$1 hash=$2
    shift 2
    if [[ -f $stamp && $(<"$stamp") == "$hash" ]]; then return; fi
    rm -f "$stamp"
    "$@"
    printf '%s\n' "$hash" >"$stamp"
}

make_venv() { # FOLDER
    say "Python environment ${1#"$root"/}"
    "${PYTHON:-python3}" -m venv --clear "$1"
    "$1/bin/python" -m pip install --quiet --upgrade 'pip>=25.1' # the first that knows --group
}

install_group() { # FOLDER GROUP
    say "packages of the dependency group '$2' into ${1#"$root"/}"
    # niquests brings urllib3-future, whose wheel would replace urllib3, another candidate of the benchmark.
    URLLIB3_NO_OVERRIDE=1 PIP_NO_BINARY=urllib3-future "$1/bin/python" -m pip install --quiet --group "$2"
}

build_dev() {
    say "extension module, dev profile"
    # A separate target folder: an extension module does not link libpython, the Rust tests do. In one folder, each build
    # would cause the other one to build PyO3 again.
    PIP_QUIET=1 VIRTUAL_ENV="$dev_venv" "$dev_venv/bin/maturin" develop --quiet --target-dir target/extension
}

build_release() {
    say "release wheel (whole-program optimisation: a few minutes the first time)"
    rm -rf .cache/wheels
    "$release_venv/bin/maturin" build --release --interpreter "$release_venv/bin/python" \
        --target-dir target/extension --out .cache/wheels
}

install_wheel() { # WHEEL
    "$release_venv/bin/python" -m pip install --quiet --force-reinstall --no-deps "$1"
    # The requirements of the wheel itself: installed already, unless the groups have changed.
    "$release_venv/bin/python" -m pip install --quiet "$1"
}

need_cargo() {
    command -v cargo >/dev/null && return
    [[ -x $HOME/.cargo/bin/cargo ]] && PATH="$HOME/.cargo/bin:$PATH" && return
    echo "cargo was not found: install a Rust toolchain (rustup) first" >&2
    exit 1
}

environment() { # FOLDER GROUP
    mkdir -p .cache
    once "$1/.stamp-venv" "$(hash_of venv)" make_venv "$1"
    once "$1/.stamp-$2" "$(hash_of "$2" pyproject.toml)" install_group "$1" "$2"
}

setup_dev() {
    need_cargo
    environment "$dev_venv" dev
    once "$dev_venv/.stamp-extension" "$(hash_of dev src .cargo .config/wheel Cargo.toml Cargo.lock pyproject.toml)" build_dev
    # Cargo builds and tests with this interpreter and its libpython.
    export PYO3_PYTHON="$dev_venv/bin/python"
    local libdir
    libdir="$("$PYO3_PYTHON" -c 'import sysconfig; print(sysconfig.get_config_var("LIBDIR") or "")')"
    export LD_LIBRARY_PATH="$libdir${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
}

setup_release() { # GROUP
    need_cargo
    environment "$release_venv" "$1"
    local sources
    sources=$(hash_of release src httpcore_rs .cargo .config/wheel Cargo.toml Cargo.lock pyproject.toml README.md LICENSE)
    once .cache/wheels/.stamp "$sources" build_release
    once "$release_venv/.stamp-wheel" "$sources" install_wheel .cache/wheels/*.whl
}

setup_wheel() { # GROUP WHEEL: the release environment with a wheel that exists already. Needs no Rust.
    environment "$release_venv" "$1"
    once "$release_venv/.stamp-wheel" "$(hash_of "$2")" install_wheel "$2"
}

setup_conformance() {
    setup_dev
    environment "$conformance_venv" conformance
}

setup_downstream() { # ARGUMENTS of scripts/downstream
    setup_dev
    # Only what this run needs: an environment has some hundreds of megabytes.
    environment "$downstream/tools" uv
    uv_environment "$downstream/newest" sdks
    [[ " $* " == *" --quick "* ]] && return
    [[ " $* " == *" --only "* && " $* " != *" programs "* ]] || uv_environment "$downstream/httpx" sdks-on-httpx
    uv_environment "$downstream/suites" suites
}

uv_environment() { # FOLDER GROUP
    once "$1/.stamp-$2" "$(hash_of "$2" pyproject.toml)" make_uv_environment "$1" "$2"
}

make_uv_environment() { # FOLDER GROUP
    say "packages of the dependency group '$2' into ${1#"$root"/}"
    local uv=$downstream/tools/bin/uv
    export UV_CACHE_DIR=$root/.cache/uv UV_PYTHON_DOWNLOADS=never
    "$uv" venv --quiet --clear --python "$("${PYTHON:-python3}" -c 'import sys; print(sys.executable)')" "$1"
    "$uv" pip install --quiet --python "$1/bin/python" --group "$2"
}

setup_docs() {
    setup_dev
    environment "$docs_venv" docs
}

# compile_for_windows: has Cargo build for x86_64-pc-windows-gnu with Debian's mingw-w64 (gcc-mingw-w64-x86-64-posix, and g++).
compile_for_windows() {
    export CC_x86_64_pc_windows_gnu=x86_64-w64-mingw32-gcc-posix CXX_x86_64_pc_windows_gnu=x86_64-w64-mingw32-g++-posix
    export CARGO_TARGET_X86_64_PC_WINDOWS_GNU_LINKER=x86_64-w64-mingw32-gcc-posix AWS_LC_SYS_PREBUILT_NASM=1
}
