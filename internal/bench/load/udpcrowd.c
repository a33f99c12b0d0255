// DNS queries from many addresses through one socket: what a server's tables of clients cost.
// usage: udpcrowd -p PORT -f names.txt -n ADDRESSES [-w window] [-t seconds] [-r rate, 0 = closed loop]
// The addresses are 127.1.0.0 and those after it; each query comes from the next one (IP_PKTINFO).
// Closed loop keeps -w queries outstanding; with -r it is paced. A query unanswered for 1 s is lost.
// Prints one JSON line, as udpload does.
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <time.h>
#include <poll.h>
#include <sys/socket.h>
#include <netinet/in.h>
#include <arpa/inet.h>

#define BATCH 32
#define WINDOW 32768 // the most that may be outstanding; a query's ID is its place
#define SECOND 1000000000L

typedef unsigned char u8;
typedef union { struct cmsghdr head; u8 room[CMSG_SPACE(sizeof(struct in_pktinfo))]; } source;

static u8 query[4096][300];
static int length[4096], queries;
static long sent_at[WINDOW]; // 0: free
static unsigned short place[WINDOW];
static int places;
static long sent, received, lost, rcodes[16];

static long now(void) {
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * SECOND + t.tv_nsec;
}

// read_names makes a query for the A of each name.
static void read_names(const char *file) {
	FILE *f = fopen(file, "r");
	char name[256], type[16];
	while (f && queries < 4096 && fscanf(f, "%255s %15s", name, type) == 2) {
		u8 *q = query[queries], *p = q + 12;
		q[2] = q[5] = 1; // RD, one question
		for (char *label = strtok(name, "."); label; label = strtok(NULL, ".")) {
			*p++ = strlen(label);
			p = mempcpy(p, label, strlen(label));
		}
		p[2] = p[4] = 1; // after the root: A, IN
		length[queries++] = p + 5 - q;
	}
}

static void receive(int s) {
	static u8 buf[BATCH][2048];
	struct iovec io[BATCH];
	struct mmsghdr m[BATCH] = {0};
	for (int i = 0; i < BATCH; i++) {
		io[i] = (struct iovec){buf[i], sizeof buf[i]};
		m[i].msg_hdr.msg_iov = &io[i];
		m[i].msg_hdr.msg_iovlen = 1;
	}
	int n;
	while ((n = recvmmsg(s, m, BATCH, MSG_DONTWAIT, 0)) > 0)
		for (int i = 0; i < n; i++) {
			unsigned id = buf[i][0] << 8 | buf[i][1];
			if (id >= WINDOW || !sent_at[id]) continue;
			sent_at[id] = 0;
			place[places++] = id;
			received++;
			rcodes[buf[i][3] & 15]++;
		}
}

// send_some sends up to n queries, as far as there are places.
static void send_some(int s, struct sockaddr_in *to, long n, long addresses) {
	static u8 buf[BATCH][300];
	static source from[BATCH];
	struct iovec io[BATCH];
	struct mmsghdr m[BATCH] = {0};
	if (n > BATCH) n = BATCH;
	if (n > places) n = places;
	for (int i = 0; i < n; i++) {
		int id = place[--places], q = (sent + i) % queries;
		memcpy(buf[i], query[q], length[q]);
		buf[i][0] = id >> 8;
		buf[i][1] = id;
		sent_at[id] = now();
		io[i] = (struct iovec){buf[i], length[q]};
		struct in_pktinfo info = {.ipi_spec_dst.s_addr = htonl(0x7f010000 + (sent + i) % addresses)};
		from[i].head = (struct cmsghdr){CMSG_LEN(sizeof info), IPPROTO_IP, IP_PKTINFO};
		memcpy(CMSG_DATA(&from[i].head), &info, sizeof info);
		m[i].msg_hdr = (struct msghdr){to, sizeof *to, &io[i], 1, &from[i], sizeof from[i], 0};
	}
	int k = n > 0 ? sendmmsg(s, m, n, 0) : 0;
	if (k < 0) k = 0;
	for (int i = n - 1; i >= k; i--) { // not sent: the places are free again
		int id = buf[i][0] << 8 | buf[i][1];
		sent_at[id] = 0;
		place[places++] = id;
	}
	sent += k;
}

// expire counts as lost what has waited too long.
static void expire(long t) {
	for (int id = 0; id < WINDOW; id++)
		if (sent_at[id] && t - sent_at[id] > SECOND) {
			sent_at[id] = 0;
			place[places++] = id;
			lost++;
		}
}

int main(int argc, char **argv) {
	int port = 53, window = 100, o;
	long rate = 0, addresses = 1;
	double seconds = 5;
	while ((o = getopt(argc, argv, "p:f:n:w:t:r:")) > 0)
		switch (o) {
		case 'p': port = atoi(optarg); break;
		case 'f': read_names(optarg); break;
		case 'n': addresses = atol(optarg); break;
		case 'w': window = atoi(optarg); break;
		case 't': seconds = atof(optarg); break;
		case 'r': rate = atol(optarg); break;
		}
	if (!queries) return fputs("udpcrowd: no names\n", stderr), 1;
	if (rate || window > WINDOW) window = WINDOW;
	while (places < window) place[places] = places, places++;

	int s = socket(AF_INET, SOCK_DGRAM, 0), room = 4 << 20;
	setsockopt(s, SOL_SOCKET, SO_RCVBUF, &room, sizeof room);
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct pollfd ready = {.fd = s, .events = POLLIN};
	long begin = now(), end = begin + seconds * SECOND, checked = begin, t;
	while ((t = now()) < end || (places < window && t < end + SECOND * 3 / 10)) {
		long before = received;
		receive(s);
		if (t < end) send_some(s, &to, rate ? (t - begin) * (rate / 1e9) - sent : BATCH, addresses);
		if (t - checked > SECOND / 5) expire(checked = t);
		if (received == before && !places) poll(&ready, 1, 20);
	}
	printf("{\"qps\":%.0f,\"sent\":%ld,\"recv\":%ld,\"lost\":%ld,\"noerr\":%ld,\"nx\":%ld,\"servfail\":%ld,\"refused\":%ld}\n",
	       received / seconds, sent, received, lost + (window - places), rcodes[0], rcodes[3], rcodes[2], rcodes[5]);
}
