#!/usr/bin/env bash
# tests/release.sh PATH: builds the last release, by its commit in CHANGELOG.md, and
# writes its gateway to PATH. Exit code 3: this clone has no such commit.
set -euo pipefail
cd "$(dirname "$0")/.."

release=$(sed -n 's/^## \(v[0-9.]*\) .*commit `\([0-9a-f]\{7,40\}\)`.*/\1 \2/p' CHANGELOG.md | head -n 1)
version=${release% *} commit=${release#* }
if [ -z "$release" ]; then
  echo "CHANGELOG.md names no release: a heading is '## v1.2.3 (date, commit \`abc1234\`)'" >&2
  exit 1
fi
if ! git cat-file -e "$commit^{commit}" 2>/dev/null; then
  echo "$version is commit $commit, which this clone lacks: git fetch --unshallow" >&2
  exit 3
fi
at=$(mktemp -d)
trap 'git worktree remove --force "$at/src" 2>/dev/null; rm -rf "$at"' EXIT
git worktree add --quiet --detach "$at/src" "$commit"
(cd "$at/src" && CGO_ENABLED=0 go build -trimpath -ldflags "-X main.version=$version" -o "$1" ./cmd/holdfast)
echo "$version, commit $commit"
