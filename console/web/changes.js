// The last readings of the policy, and what was wrong with the files.
import {h, heading, facts, badge, notice} from "./dom.js";
import {getLines} from "./api.js";
import {moment} from "./format.js";
import {onStatus} from "./health.js";
import {began} from "./filters.js";

export const title = "Changes";

const kept = 100;

export async function show(main, _, signal) {
	const now = h("div", {"aria-live": "polite"});
	const list = h("ol", {class: "events"});
	const told = h("p", {role: "status"}, "Reading the journal…");
	main.append(heading("Changes"), now, h("h2", {}, "Of the last 90 days"), told, list);
	onStatus((status) => now.replaceChildren(inForce(status.policy)), signal);

	let records = [];
	for await (const record of getLines("log", {plane: "policy", since: began("2160h")}, signal)) {
		if (!record.error) records.push(record);
		if (records.length > kept) records.shift();
	}
	told.textContent = records.length ? "The newest first." : "Neither a change nor a bad edit is recorded.";
	list.append(...records.reverse().map((record) => {
		const refused = record.detail?.startsWith("refused");
		return h("li", {}, moment(record.time), " ", badge(refused ? "bad" : "info", refused ? "refused" : record.event || "policy"), " ",
			h("span", {class: "text"}, record.detail ?? ""), record.by && h("span", {class: "muted"}, " by " + record.by));
	}));
}

function inForce(policy) {
	return h("section", {class: "card " + (policy.error ? "bad" : "ok")},
		h("h2", {}, badge(policy.error ? "bad" : "ok", policy.error ? "the files are wrong" : "in force"), " Policy ", h("code", {}, policy.id)),
		policy.error && [notice(policy.error), h("p", {}, "Until that is mended, the last good policy stays in force.")],
		facts([
			["From", policy.source], ["Mode", policy.mode], ["Documents", policy.packs?.join(", ")],
			["Since", moment(policy.since)], ["Last change", policy.changes?.join("; ")],
		]));
}
