#!/usr/bin/env bash
# Looks for faults without running the library: formatting, vet, staticcheck, file lengths. Runs all, fails if one does.
set -u
cd "$(dirname "$0")/.."
staticcheck=honnef.co/go/tools/cmd/staticcheck@v0.8.2
status=0

unformatted=$(gofmt -l $(git ls-files '*.go'))
if [ -n "$unformatted" ]; then
    echo "not formatted by gofmt:" $unformatted
    status=1
fi
go vet ./... || status=1
go run $staticcheck ./... || status=1
go test -count=1 -run '^TestFileLengths$' ./tests || status=1
exit $status
