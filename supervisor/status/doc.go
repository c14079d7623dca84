// Package status tells people and programs how the pair is, and takes their orders.
//
// It holds the status document (Snapshot) with the sentences and the verdict drawn from it, and the local API that serves it: HTTP
// with JSON over a unix socket, for the command line and for scripts on the same host. Who may connect is decided by the socket's
// mode; whose order it was is told by the kernel (SO_PEERCRED), not by the client.
//
// Public is a second, optional listener for monitoring by HTTP over TCP: the same documents, yes or no for load balancers, and the metrics
// page that it is given. It takes no orders. Who may reach it is for the network to say: it asks nobody who he is.
//
// It promises that the document's keys stay as they are, that every refusal says what to do, and that no request can hold the daemon
// up: bodies, headers, connections and times are bounded.
//
// It decides nothing about roles and reaches nothing but the Daemon it is given.
package status
