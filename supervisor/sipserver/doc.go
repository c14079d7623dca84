// Package sipserver watches the supervised SIP server on this host and says whether it can serve.
//
// Four kinds of evidence are combined, the fastest first: every process that holds the server's listening socket (its end is known
// within milliseconds), the sockets themselves (the kernel tells when one is gone, and what waits in them), what OPTIONS probes say,
// which somebody else sends and passes to Server.Probed, and what an observer sees of other requests (Server.Traffic). judge.go,
// hang.go, queue.go, traffic.go and outage.go hold the rules and have no I/O.
//
// What counts as the server's death:
//
//   - The main process ended (the holder of the socket whose parent holds none). Workers that outlive it do not help: Kamailio's go on
//     answering without anyone to manage them. Only a process that it did not start ends this. A main process that
//     exits with 0 while others hold the socket has handed over, as in a reload.
//   - A worker ended by a signal or with an exit code other than 0. Kamailio comes down for this, 1.8 s later. A worker is a holder
//     that runs the main process's program and was seen for two seconds at least: helpers, forked or started by the server,
//     inherit the socket for moments and do not count, nor does an orderly exit with 0, as of a pool that shrinks. If the main
//     process, the socket and the answers are all still there three seconds later, the server is well again.
//   - Nothing listens on one of the addresses, or only processes of another name do, and no process of the server is seen to live.
//   - Probes are refused.
//
// Nothing listens, but a process of the server lives: it closed its socket, or it was started anew and can't bind. That is a reason of
// its own, because it may pass without anybody's help. The kernel says when a listening socket is destroyed (the multicast groups of
// sock_diag, from any network namespace), and knows no such event for one that is bound. That is found at the first probe that is
// answered, and by looking once a second; what is needed to serve again is the answer in any case.
//
// A hang takes two of three, for HangAfter without a break:
//
//   - OPTIONS gets no answer, for as long as the prober calls silence.
//   - What arrives is not read: something waits in a UDP socket, a TCP connection or a backlog, and was at no look less than at the
//     one before, in none of the sockets of that transport. Looks are 20 ms apart.
//   - Other requests get no answer: three at least, since the last that did.
//
// A server that answers other requests does not hang. Processes that are all stopped by a signal or a debugger, or frozen with their
// control group, make silence a hang at once: no time would bring more certainty. While a process of the server is runnable but waits
// for the processor, a second more is allowed, because a busy machine is no hung server. Time in which this process did not look
// does not count. Where the sockets can't be seen, OPTIONS alone has to do. OPTIONS alone, where they can, is no reason and
// an alarm (Status.OptionsDead); so is a server that answers and has too much to do (Status.Overloaded). One that answers at the service
// address while more waits there than should is busy (Status.Busy): whoever misses its answers has found no broken path.
//
// Only this network namespace is seen. Processes of other users can be seen with CAP_SYS_PTRACE; without it, or when they live in
// another PID namespace, sockets and probes have to do, and the log says so once: then a stopped server hangs after HangAfter like any
// other, and a lost socket is always a death.
package sipserver
