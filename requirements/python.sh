#!/bin/sh
# Print the newest Python that can run Portcullis. A name on PATH proves nothing (a version manager's shim may
# exist and fail), so each candidate is run.
found=""
for python in python3.13 python3.12 python3.11 python3.14 python3 python; do
  "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || continue
  found="$python"
  "$python" -c 'import ensurepip, venv' 2>/dev/null || continue
  exec "$python" -c 'import sys; print(sys.executable)'
done
if [ -n "$found" ]; then
  echo "Portcullis: $found lacks the venv module. On Debian or Ubuntu: apt install $found-venv; then run this again." >&2
else
  echo "Portcullis needs Python 3.11 or newer, and none was found on PATH. Install it, then run this again." >&2
fi
exit 1
