// Package redistest starts real redis-server processes for tests and
// benchmarks: a single server, a three-node Cluster, a master with a replica
// under three Sentinels, and a proxy that loses what passes through it. They
// listen on free loopback ports, keep their files in the test's own folder and
// end with the test.
package redistest
