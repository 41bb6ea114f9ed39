#!/bin/sh
# A stand-in for docker that knows at most one image and one container; tests/unit/test_engine_modules.py sets it up.
# It notes its arguments in "calls" and answers as docker 20.10 does, with the JSON of a real engine.
here=$(dirname "$0")
printf '%s\n' "$*" >> "$here/calls"
if [ -e "$here/hangs" ] && [ "$(cat "$here/hangs")" = "$1" ]; then
    exec sleep 60
fi
if [ -e "$here/down" ]; then
    cat "$here/down" >&2
    exit 1
fi

show() {
    cat "$here/$1.json" 2>/dev/null && return
    echo '[]'
    echo "Error: No such $1: $2" >&2
    exit 1
}

become() {
    sed "s/\"LABELS\"/{$(cat "$here/labels")}/" "$here/$1" > "$here/container.json"
}

case $1 in
image | container)
    if [ "$1 $2" = "image rm" ]; then
        if grep -qxF "$3" "$here/names" 2>/dev/null; then
            grep -vxF "$3" "$here/names" > "$here/names.new"
            mv "$here/names.new" "$here/names"
        else
            [ -e "$here/tags" ] || rm "$here/image.json"
        fi
    else
        show "$1" "$3"
    fi
    ;;
ps)
    case $* in
    *ancestor=*) cat "$here/users" 2>/dev/null ;;
    *label=*) cat "$here/others" 2>/dev/null ;;
    esac
    exit 0
    ;;
tag)
    echo "$3" >> "$here/names"
    ;;
images)
    cat "$here/names" 2>/dev/null
    exit 0
    ;;
version)
    echo "20.10.24+dfsg1"
    ;;
create)
    labels=
    for word in "$@"; do
        if [ "$before" = --label ]; then
            labels="$labels, \"${word%%=*}\": \"${word#*=}\""
        fi
        before=$word
    done
    echo "${labels#, }" > "$here/labels"
    become created
    echo 612326fc388a
    ;;
start)
    become running
    ;;
stop)
    become exited
    ;;
rm)
    rm "$here/container.json"
    ;;
load)
    echo "Loaded image: $(cat "$here/held")"
    [ "$(cat "$here/held")" != quay.io/ascend/vllm-ascend:v0.20.2rc1-a3 ] || cp "$here/image" "$here/image.json"
    ;;
login)
    ls -ld "$DOCKER_CONFIG" > "$here/config"
    echo "$DOCKER_CONFIG" >> "$here/config"
    if [ "$(cat)" != right-canary ]; then
        echo "Error response from daemon: login attempt to https://x/v2/ failed with status: 401 Unauthorized" >&2
        exit 1
    fi
    touch "$DOCKER_CONFIG/config.json"
    ;;
pull)
    if [ -e "$here/private" ] && [ ! -e "$DOCKER_CONFIG/config.json" ]; then
        echo "Error response from daemon: unauthorized: authentication required" >&2
        exit 1
    fi
    if [ ! -e "$here/registry" ]; then
        echo "Error response from daemon: Get \"https://quay.io/v2/\": dial tcp: lookup quay.io: no such host" >&2
        exit 1
    fi
    cp "$here/image" "$here/image.json"
    ;;
logs)
    cat "$here/log"
    ;;
events)
    echo 3
    ;;
esac
