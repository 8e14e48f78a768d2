#!/usr/bin/env bash
# Builds every function for Lambda and deploys the template: deploy.sh <staging|prod>
set -euo pipefail
cd "$(dirname "$0")/.."

environment=${1:-}
case $environment in
  staging | prod) ;;
  *) echo "keystone: say where to: make deploy ENV=staging" >&2; exit 2 ;;
esac

"${PYTHON:-python3}" infra/local/venvs.py sam deploy
export SAM_CLI_TELEMETRY=0
# cargo-lambda brings zig, which links against Amazon Linux 2023's glibc.
export PATH="$PWD/.local/venvs/deploy/bin:$PATH"

cargo lambda build --workspace --bins --release --arm64 --locked
.local/venvs/sam/bin/sam build --config-env "$environment"
.local/venvs/sam/bin/sam deploy --config-env "$environment"
