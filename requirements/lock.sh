#!/bin/sh
# Make the locks again. The development lock comes first: aws-sam-cli pins boto3, and the layer follows.
set -eu
compile() {
  uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
    --custom-compile-command "make lock" $upgrade "$@"
}
upgrade="${1:-}"
compile requirements/dev.in -o requirements/dev.txt
compile layers/billing/requirements.in -c requirements/dev.txt -o layers/billing/requirements.txt
compile requirements/engine.in -o requirements/engine.txt
compile requirements/uv.in -o requirements/uv.txt
