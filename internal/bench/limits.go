package bench

// A limit is what nothing can be faster than at a row's work, or smaller, and what
// is between that and tillgate.
type limit struct {
	of             string // the name of a row, or what an other is of
	limit, between string
}

// work is what the row's is called on the page.
func (l limit) work() string {
	for _, r := range rows {
		if r.name == l.of {
			return r.work
		}
	}
	return l.of
}

var limits = []limit{
	{"dns-cached", "the kernel's UDP path, one datagram in and one out: the batched echo does that and nothing else",
		`one look-up in what was answered within the last second (the client, the query's bytes), the client's bucket, the
patched ID and capitals, a count for the record and the metrics; the reply is longer than the echo's by its addresses. All but 5 to
13 % of the time is the kernel's, so that a peer can't be beaten by much more than the echo beats it`},
	{"dns-denied", "the same",
		`the same; the reply is longer by an SOA and an EDE, which is some 100 bytes more for the kernel to copy. The
record is counted with the answer, and written once a window`},
	{"dns-5k", "a wake-up of the process, recvmmsg and sendmmsg for each query: none waits long enough for a batch",
		`Go's poller: to wait, the scheduler asks epoll twice, at once and then with all the time that there is. unbound has
one epoll_wait and no scheduler between it and its socket`},
	{"doh", "the TLS record and the HTTP/2 frames of one exchange, two wake-ups, and the system calls of each side",
		`three goroutines that wake each other: one asks, one writes to the server all that came together, one reads; the
answer's check, the cache's copy, and a record, which is of a new name each time, so that none is counted instead; and the
client's reply has a system call of its own, as it comes when it comes`},
	{"connect", "the kernel's two TCP connections: to set up, to accept, to close. Of the CPU that is most",
		`goproxy's request and response; the ClientHello is read by crypto/tls; a name is
looked up and its addresses are judged, before the connection and after it; two records, of which the second has the bytes; and a goroutine for each
direction, with the poller's calls for both sockets. tinyproxy only reads the CONNECT and copies, and closes both sides when the
first has ended, where this passes the end on and waits for the other's`},
	{"bulk-1", "the kernel's TCP over loopback: one copy in at the sender and one out at the receiver, on the load's processor",
		`splice(2) moves pages by a pipe, without a copy; it takes two calls for what is there, and while much comes one
before them that asks how much that is (SIOCINQ), so that nothing waits in a pipe; and a wake-up whenever the socket was empty. The relay does the same, but for the
question, and no arrangement of these calls was found to be cheaper (ARCHITECTURE.md): both wait for the same kernel`},
	{"bulk-8", "the same; the load's processor, which has to read it all, is busy first",
		"the same, of eight sockets that wait for one processor"},
	{"ntp", "the kernel's UDP path, with a stamp and an address (PKTINFO) as control data of each packet",
		`the client's slot in a table, which has its rate and what its clock shows, the estimate of the time, and the stamps;
a raw clock read once a batch, so that no answer says that it left before it did`},
	{"ntp-2k", "a wake-up, recvmmsg, a clock's reading and sendmmsg for each request",
		"Go's poller, as with DNS at 5,000 a second, with twice as many calls for a packet as chronyd has"},
	{idleMemory, "two sockets: the kernel's memory, which is not the process's",
		`what is known of it: the counters, the timer, the place in the registry, and what the record of the end will say; and
of when it was at work what Go keeps for the next: a kilobyte for its two goroutines, and what of freed memory has not been given
back. A tunnel that has been silent for 10 s has no goroutine, no buffer and no connection of Go's net, only two descriptors in
an epoll instance. All are looked at when they have been silent for 15 s`},
	{idleDescriptors, "two sockets", "nothing: there is a pipe only while bytes move; one epoll instance is all tunnels'"},
	{"start to first answer", "the kernel loading the program, and Go's runtime: some 10 ms",
		`the packages' tables, the policy and its index, the last segment of the journal, which is checked before it is
written on, and the sockets`},
	{"idle RSS", "the pages of the program that were touched, and the heap of an idle Go program: some 8 MB",
		"the cache's and the tables' first pages, the policy, the journal's encoder, and the roots of certificates"},
	{"stripped binary", "Go's runtime with net/http, TLS and HTTP/2: some 6 MB",
		"miekg/dns, goproxy, zstd, the console's pages, the YAML parser, and the commands' library"},
}
