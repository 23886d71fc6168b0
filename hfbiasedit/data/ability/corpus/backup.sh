#!/usr/bin/env bash
# Copy a folder to a dated archive and keep the newest seven.
set -euo pipefail

usage() {
    echo "usage: $0 SOURCE DESTINATION" >&2
    exit 2
}

[[ $# -eq 2 ]] || usage
source_dir=$1
target_dir=$2
keep=7

if [[ ! -d $source_dir ]]; then
    echo "no such folder: $source_dir" >&2
    exit 1
fi
mkdir -p "$target_dir"

stamp=$(date -u +%Y-%m-%dT%H%M%SZ)
archive="$target_dir/backup-$stamp.tar.gz"
partial="$archive.partial"
trap 'rm -f "$partial"' EXIT

tar --create --gzip --file "$partial" \
    --exclude='*.tmp' --exclude='.cache' \
    --directory "$(dirname "$source_dir")" "$(basename "$source_dir")"
gzip --test "$partial"
mv "$partial" "$archive"
sha256sum "$archive" > "$archive.sha256"

mapfile -t archives < <(ls -1 "$target_dir"/backup-*.tar.gz | sort -r)
for old in "${archives[@]:$keep}"; do
    echo "removing $old"
    rm -f "$old" "$old.sha256"
done
printf 'wrote %s (%s)\n' "$archive" "$(du -h "$archive" | cut -f1)"
