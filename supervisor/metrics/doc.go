// Package metrics shows a node to Prometheus.
//
// Metrics reads a status document and a few counters when somebody scrapes it, and does nothing at any other time: a node that nobody
// asks pays nothing. Names begin with understudy_, units are base units, and every series has the labels cluster and node. The number
// of series is bounded by the configuration and the alarm table; nothing that comes from the network becomes a label.
//
// It promises that names and labels stay as they are, and that a page is complete or not there at all.
//
// Of the rooms beside it it knows the words of the status document, and nothing else.
package metrics
