// A client's story: all that it asked for and what came of it, in order, across planes.
import {h, heading, field, address, link, notice} from "./dom.js";
import {getLines} from "./api.js";
import {entry} from "./record.js";
import {number} from "./format.js";
import {sinceChoice, began} from "./filters.js";

export const title = "Client";

const kept = 1000; // records in the list: the latest

export async function show(main, filters, signal) {
	const client = filters.get("client") ?? "", span = filters.get("since") || "1h";
	const input = h("input", {name: "client", value: client, required: true, autocomplete: "off", placeholder: "10.20.0.14"});
	const form = h("form", {class: "filters", "aria-label": "Client", submit: (event) => { event.preventDefault(); go(); }},
		field("Client", input), field("Since", sinceChoice(span)), h("button", {}, "Show"));
	function go() {
		location.hash = address("client", Object.fromEntries([...new FormData(form)].map(([name, value]) => [name, value.trim()])));
	}
	main.append(heading(client ? "The story of " + client : "A client's story"), form);
	if (!client) return;

	const told = h("p", {role: "status"}, "Reading the journal…");
	const list = h("ol", {class: "records", "aria-label": "Records, the oldest first"});
	main.append(told, list);
	let records = [], damage;
	const count = {allow: 0, deny: 0, "would-deny": 0};
	let left = 0, frame = 0, total = 0;
	for await (const record of getLines("log", {client, since: began(span)}, signal)) {
		if (record.error) {
			damage = record.error;
			continue;
		}
		total++;
		if (record.verdict && record.event !== "close") count[record.verdict] += Math.max(1, record.count ?? 1);
		records.push(record);
		if (records.length > 2 * kept) { // not one by one: that would be slow
			left += records.length - kept;
			records = records.slice(-kept);
		}
		frame ||= requestAnimationFrame(() => {
			frame = 0;
			if (told.isConnected && total) told.textContent = "Reading the journal… " + number(total) + " records";
		});
	}
	cancelAnimationFrame(frame);
	left += Math.max(0, records.length - kept);
	records = records.slice(-kept);
	if (damage) main.insertBefore(notice(damage), list);
	if (!total) {
		told.textContent = "Nothing is recorded of it in this time.";
		return;
	}
	const of = records.findLast((record) => record.class)?.class;
	told.replaceChildren((of ? "Class " + of + ": " : "") + number(count.allow) + " allowed, " + number(count.deny) + " denied" +
		(count["would-deny"] ? ", " + number(count["would-deny"]) + " let through by observe" : "") +
		(left ? ". The earliest " + number(left) + " records are left out. " : ". "),
		link("Follow it in the log", "log", {client}));
	list.append(...records.map(entry));
}
