#!/usr/bin/env bash
# Builds the packages into dist/: deb and rpm, amd64 and arm64; holdfast-bridge into
# dist/bridge/; holdfast-dev, for authors of processors, into dist/dev/. The same commit makes the same bytes.
# VERSION=1.2.3 overrides the version of git describe, MAINTAINER="Name <address>" names
# whom to ask; ARCHS and FORMATS restrict what is built.
set -euo pipefail
cd "$(dirname "$0")/../.."
export LC_ALL=C TZ=UTC
umask 022

# 1.2.3 at the tag v1.2.3, 1.2.3+4.gabcdef four commits later.
describe() {
  local d
  if ! d=$(git describe --tags --match 'v[0-9]*' 2>/dev/null); then
    d=0.0.0-$(git rev-list --count HEAD)-g$(git rev-parse --short HEAD)
  fi
  d=$(sed -E 's/^v//; s/-([0-9]+)-(g[0-9a-f]+)$/+\1.\2/; s/-/~/g' <<<"$d")
  git diff --quiet HEAD || d+=+dirty
  echo "$d"
}

VERSION=${VERSION:-$(describe)}
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}
out=${OUT:-dist}
MAINTAINER=${MAINTAINER:-Holdfast <holdfast@localhost.localdomain>}
export SOURCE_DATE_EPOCH

# Versions sort as dpkg sorts them: ~ comes before everything.
[[ $VERSION =~ ^[0-9][0-9A-Za-z.+~]*$ ]] || { echo "VERSION $VERSION: want digits first, then letters, digits, . + ~" >&2; exit 1; }
mkdir -p "$out/dev" "$out/bridge"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

go build -o "$work/native" ./cmd/holdfast
deploy/package/sdk.sh "$work/sdk"
for arch in ${ARCHS:-amd64 arm64}; do
  stage=$work/$arch
  mkdir -p "$stage"
  for p in holdfast processor; do
    CGO_ENABLED=0 GOOS=linux GOARCH=$arch go build -trimpath -buildvcs=true ${TAGS:+-tags "$TAGS"} \
      -ldflags "-s -w -buildid= -X main.version=$VERSION" -o "$stage/$p" "./cmd/$p"
  done
  (cd cmd/holdfast-bridge && CGO_ENABLED=0 GOOS=linux GOARCH=$arch go build -trimpath -buildvcs=true \
    -ldflags "-s -w -buildid= -X main.version=$VERSION" -o "$stage/holdfast-bridge" .)
  (cd tests && CGO_ENABLED=0 GOOS=linux GOARCH=$arch go build -trimpath -buildvcs=true \
    -ldflags "-s -w -buildid=" -o "$stage/holdfast-sim" ./cmd/sim)
  cp -r "$work/sdk" "$stage/sdk"
  for page in holdfast.1 holdfast.conf.5 holdfast-bridge.1; do
    gzip -9n <"deploy/man/$page" >"$stage/$page.gz"
  done
  gzip -9n <CHANGELOG.md >"$stage/changelog.gz"
  gzip -9n >"$stage/changelog.Debian.gz" <<EOF
holdfast ($VERSION) stable; urgency=medium

  * See changelog.gz.

 -- $MAINTAINER  $(date -uR -d "@$SOURCE_DATE_EPOCH")
EOF
  "$work/native" completion bash >"$stage/completion.bash"
  "$work/native" completion zsh >"$stage/completion.zsh"
  for format in ${FORMATS:-deb rpm}; do
    # Debian's own tools look in places of their own.
    units=/usr/lib/systemd/system zsh=site-functions
    [ "$format" = deb ] && units=/lib/systemd/system zsh=vendor-completions
    for package in holdfast:nfpm.yaml:$out holdfast-bridge:nfpm-bridge.yaml:$out/bridge holdfast-dev:nfpm-dev.yaml:$out/dev; do
      IFS=: read -r name recipe to <<<"$package"
      sed "s|\${ARCH}|$arch|; s|\${VERSION}|$VERSION|; s|\${STAGE}|$stage|; s|\${UNITS}|$units|; s|\${ZSH}|$zsh|; s|\${MAINTAINER}|$MAINTAINER|" "deploy/package/$recipe" >"$stage/$name.yaml"
      go tool -modfile=deploy/package/nfpm.mod nfpm package -f "$stage/$name.yaml" -p "$format" -t "$to/"
    done
  done
done
