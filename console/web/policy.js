// The policy in force beside the rows of the document, and what was used of it.
import {h, heading, table, badge, choice, field, notice} from "./dom.js";
import {get} from "./api.js";
import {moment, number} from "./format.js";

export const title = "Policy";

const spans = [["24h", "24 hours"], ["168h", "7 days"], ["720h", "30 days"], ["2160h", "90 days"]];

export async function show(main, filters, signal) {
	const since = filters.get("since") || "720h";
	const window = choice("since", spans, since);
	window.addEventListener("change", () => location.hash = "#/policy?since=" + window.value);
	main.append(heading("Policy in force"));
	const [policy, usage] = await Promise.all([get("policy", {}, signal), get("usage", {since}, signal).catch((error) => error)]);
	if (signal.aborted) return;
	const used = new Map((usage.rules ?? []).map((rule) => [place(rule.rule, rule), rule]));
	main.append(
		h("p", {class: "muted"}, h("code", {}, policy.id), ", mode " + policy.mode + ", " + policy.packs.map((pack) => pack.title).join("; ")),
		h("form", {class: "filters", submit: (event) => event.preventDefault()}, field("Used within", window)),
		usage instanceof Error && notice("What was used of it can't be told: " + usage.message, "warn") || "",
		h("h2", {}, "Who"),
		table("Classes of devices", ["Class", "Networks", "May use", "Mode", "File"], policy.classes.map((c) => [
			c.name, [...c.networks ?? [], ...c.interfaces ?? []].join(", "), c.services.join(", ") + (c.time ? ", time" : ""),
			badge(c.mode === "observe" ? "would-deny" : "info", c.mode), h("code", {}, c.at)])),
		h("h2", {}, "What"),
		...policy.services.map((s) => service(s, used)));
	if (policy.deny) main.append(h("h2", {}, "Denied to all"), rules("Deny rules", policy.deny, used));
}

function service(s, used) {
	return h("section", {class: "service"},
		h("h3", {}, s.row ? "Row " + s.row + ": " + s.title : s.id, " ",
			badge(s.requirement === "required" ? "info" : "plain", s.requirement ?? "the store's own")),
		h("p", {class: "muted"}, [s.row ? s.id : "", s.reason, s.purpose?.join("; ")].filter(Boolean).join(" · "),
			s.until && [" · until ", moment(s.until)]),
		rules("Destinations of " + s.id, s.destinations ?? [], used));
}

// place is what tells a rule: a line may have several.
function place(at, rule) {
	return at + " " + (rule.host ?? rule.network);
}

function rules(caption, list, used) {
	return table(caption, ["Destination", "Ports", "Allowed", "Denied", "Last used", "File"], list.map((d) => {
		const use = used.get(place(d.at, d));
		return [d.host ?? d.network, d.ports?.join(", ") ?? "all", use?.allowed ? number(use.allowed) : "–", use?.denied ? number(use.denied) : "–",
			(use && moment(use.last)) || "not in this time", h("code", {}, d.at)];
	}));
}
