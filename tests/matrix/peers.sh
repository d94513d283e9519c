# Programs of both generations talk to each other, by TCP and UDP; those of 2019 send messages of three segments.
. "$(dirname "$0")/program/build.bash"
for generation in 2019 2020; do
    build $generation c99 ./peer-$generation peer.c -ldmtr
done

talk() { # server, client
    local port
    exec 3< <("./peer-$1" server)
    read -r port <&3 || fail "the server of $1 does not start"
    "./peer-$2" client "$port" || fail "the client of $2 fails with a server of $1"
    wait $! || fail "the server of $1 fails with a client of $2"
    exec 3<&-
}

for server in 2019 2020; do
    for client in 2019 2020; do
        echo "$client to $server"
        talk $server $client
        MATRIX_DATAGRAMS=1 talk $server $client
    done
done
