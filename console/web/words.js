// What the box's own words mean, for people. A test compares the lists with the program's.

// reasons are why a verdict is what it is.
export const reasons = {
	"documented": "in the provider's document",
	"local-service": "a service of the store's own",
	"not-documented": "no rule names it",
	"other-class": "documented, but not for this class of device",
	"port": "the name is allowed, but not on this port",
	"denied-by-policy": "a deny rule names it",
	"expired": "the rule that allowed it has ended",
	"unknown-client": "this client's address is in no class",
	"bad-name": "not a valid host name",
	"ip-literal": "an address where a name must stand",
	"private-address": "the name leads to a private or special address",
	"sni-mismatch": "the TLS server name is not the host that was asked for",
	"host-mismatch": "the Host header is not the host that was asked for",
	"no-sni": "the TLS hello names no server",
	"no-hello": "nothing was said in time",
	"not-tls": "not what the port is for",
	"rate": "too many requests from this client",
	"limit": "a limit of the box is reached",
	"qtype": "this type of record is not given",
	"firewall": "refused by the firewall",
	"spoofed": "the source address does not belong to this interface",
	"malformed": "not well-formed",
	"time-untrusted": "the box does not know the time yet",
};

// planes are where attempts are decided, and what else is recorded.
export const planes = {
	dns: "DNS",
	connect: "proxy (CONNECT)",
	tls: "redirected TLS",
	http: "HTTP",
	ntp: "time (NTP)",
	firewall: "firewall",
	policy: "policy",
	system: "system",
};

// verdicts as a person would say them.
export const verdicts = {allow: "allowed", deny: "denied", "would-deny": "let through"};

// parts of the box.
export const parts = {
	dns: "DNS",
	upstream: "Upstream",
	proxy: "Proxy",
	time: "Time",
	ntp: "Time service",
	journal: "Journal",
	policy: "Policy",
	firewall: "Firewall",
	console: "Console",
	settings: "Settings",
};

// states of a part.
export const states = {ok: "well", warn: "warning", bad: "bad"};

// endings are what a tunnel ended by.
export const endings = {
	client: "closed by the client",
	server: "closed by the server",
	idle: "closed, as nothing was said for too long",
	policy: "closed by the policy now in force",
	until: "closed, as its rule has ended",
	stop: "closed, as the box stopped",
	error: "closed by a fault of the box",
};

// service is a service with its row of the document.
export function service(record) {
	return (record.row ? "row " + record.row + ", " : "") + (record.service ?? "");
}
