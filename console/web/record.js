// A record of the journal as an entry of a list: one line in words, and all of its fields
// when it is opened.
import {h, link, facts, badge} from "./dom.js";
import {moment, size, span, number} from "./format.js";
import {reasons, verdicts, endings, planes, service} from "./words.js";

// entry is a record as an item of a list.
export function entry(record) {
	const [kind, word] = label(record);
	const summary = h("summary", {},
		moment(record.time, record.untrusted_time ? "?" : ""), " ",
		badge(kind, word), " ",
		// What is no attempt of a client is a sentence.
		record.verdict && [h("span", {class: "client"}, who(record)), " ", h("span", {class: "target"}, target(record)), " "],
		h("span", {class: "why"}, why(record)));
	const details = h("details", {class: record.verdict ? "record" : "record event"}, summary);
	// Five hundred records have ten thousand fields: they are made when somebody looks.
	details.addEventListener("toggle", () => details.append(fields(record)), {once: true});
	return h("li", {}, details);
}

// label is a record's kind, and the word for it.
function label(record) {
	if (record.event === "gap") return ["bad", "gap"];
	if (record.event === "close") return ["info", "ended"];
	if (record.verdict) return [record.verdict, verdicts[record.verdict] ?? record.verdict];
	return ["info", record.plane];
}

// who is a client with its class.
export function who(record) {
	return (record.client ?? "somebody") + (record.class ? " (" + record.class + ")" : "");
}

// target is what was wanted: a name or an address, a port, a type of record.
export function target(record) {
	let name = record.name ?? "";
	if (!name && record.qtype) name = ".";
	if (!name && record.dest) name = record.dest.replace(/:\d+$/, "");
	if (!name) return planes[record.plane] ?? record.plane;
	if (record.port) name = (name.includes(":") && !name.startsWith("[") ? "[" + name + "]" : name) + ":" + record.port;
	return record.qtype ? name + " " + record.qtype : name;
}

// why is the reason in words, or what happened.
export function why(record) {
	const words = [];
	const add = (text) => text && words.push(text);
	if (record.event === "close") {
		add(endings[record.by] ?? "ended");
		add(size(record.up) + " up, " + size(record.down) + " down");
		if (!record.count && record.ms) add("after " + span(record.ms / 1000));
	} else if (record.verdict) {
		const granted = record.verdict === "allow" && record.service;
		if (!granted) add(reasons[record.reason] ?? record.reason);
		if (record.service) add(service(record));
		if (record.rcode && record.rcode !== "NOERROR" && record.rcode !== "NXDOMAIN") add(record.rcode.replaceAll("_", " "));
		if (record.answers) add(record.answers.join(", "));
		if (record.stale) add("from the cache, as the upstream does not answer");
		if (Math.abs(record.offset_ms ?? 0) >= 1000) {
			add("its clock is " + span(Math.abs(record.offset_ms) / 1000) + (record.offset_ms < 0 ? " slow" : " fast"));
		}
	}
	add(record.detail || (words.length ? "" : record.event));
	if (record.count) add(number(record.count) + (record.verdict || record.event === "close" ? " more" : ""));
	return words.join("; ");
}

// fields are all that the record says, with where one can go from there.
function fields(record) {
	return h("div", {class: "fields"},
		h("p", {class: "ways"}, ways(record)),
		facts(Object.entries(record).map(([name, value]) => [name, shown(name, value)])));
}

function shown(name, value) {
	if (name === "time" || name === "until") return moment(value);
	if (Array.isArray(value)) return value.join(", ");
	return String(value);
}

// ways lead from a record to what else there is about it.
export function ways(record) {
	const list = [];
	if (record.client) list.push(link("Story of " + record.client, "client", {client: record.client, since: "1h"}));
	if (record.client && record.name && record.verdict) {
		list.push(link("Why?", "explain", {client: record.client, name: record.name, port: record.port},
			{"aria-label": "Why was " + target(record) + " " + (verdicts[record.verdict] ?? "")}));
	}
	if (record.name) list.push(link("Log of this name", "log", {name: record.name}));
	return list;
}
