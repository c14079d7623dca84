// Package sipserver watches the supervised SIP server on this host and says whether it can serve.
//
// Three kinds of evidence are combined, the fastest first: every process that holds the server's listening socket (its end is known
// within milliseconds), the socket itself (the kernel tells when it is gone), and what OPTIONS probes say, which somebody else
// sends and passes to Server.Probed. judge.go holds the rules and has no I/O.
//
// What counts as the server's death:
//
//   - The main process ended (the holder of the socket whose parent holds none). Workers that outlive it do not help: Kamailio's go on
//     answering without anyone to manage them. Only a process that comes to hold the socket later ends this. A main process that
//     exits with 0 while others hold the socket has handed over, as in a reload.
//   - A worker ended by a signal or with an exit code other than 0. Kamailio comes down for this, 1.8 s later. A worker is a holder
//     that runs the main process's program and was seen for two seconds at least: helpers, forked or started by the server,
//     inherit the socket for moments and do not count, nor does an orderly exit with 0, as of a pool that shrinks. If the main
//     process, the socket and the answers are all still there three seconds later, the server is well again.
//   - Nothing listens on one of the addresses, or only processes of another name do.
//   - Probes are refused.
//
// Silence is a hang, with one exception: while a process of the server is runnable but waits for the processor, up to one second more
// is allowed, because a busy machine is no hung server.
//
// Only this network namespace is seen. Processes of other users can be seen with CAP_SYS_PTRACE; without it, or when they live in
// another PID namespace, sockets and probes have to do, and the log says so once.
package sipserver
