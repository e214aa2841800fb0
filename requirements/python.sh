#!/bin/sh
# Print the path of a Python: `python.sh` the newest that can run Portcullis (or the one that PYTHON names),
# `python.sh 3.13` one of exactly that version. A name on PATH proves nothing (a version manager's shim may exist and
# fail), so each candidate is run.

if [ -n "${1:-}" ]; then
  # Installed by pyenv or uv counts too, on PATH or not. A preview or a free-threaded build may have other bytecode.
  pyenv="${PYENV_ROOT:-${HOME:-}/.pyenv}/versions"
  uv="${UV_PYTHON_INSTALL_DIR:-${XDG_DATA_HOME:-${HOME:-}/.local/share}/uv/python}"
  for python in "python$1" "$pyenv/$1"*/bin/python "$uv/cpython-$1"*/bin/python; do
    "$python" - "$1" 2>/dev/null <<'END' && exit
import sys
version, flags = sys.version_info, sys.implementation.name + getattr(sys, "abiflags", "")
if ("%d.%d" % version[:2], version[3], flags) != (sys.argv[1], "final", "cpython"):
    sys.exit(1)
print(sys.executable)
END
  done
  exit 1
fi

found=""
for python in ${PYTHON:-python3.13 python3.12 python3.11 python3.14 python3 python}; do
  "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || continue
  found="$python"
  "$python" -c 'import ensurepip, venv' 2>/dev/null || continue
  exec "$python" -c 'import sys; print(sys.executable)'
done
if [ -n "$found" ]; then
  echo "Portcullis: $found lacks the venv module. On Debian or Ubuntu: apt install $found-venv; then run this again." >&2
elif [ -n "${PYTHON:-}" ]; then
  echo "Portcullis needs Python 3.11 or newer, and PYTHON=$PYTHON is none. Name another, or none to have one found." >&2
else
  echo "Portcullis needs Python 3.11 or newer, and none was found on PATH. Install it, then run this again." >&2
fi
exit 1
