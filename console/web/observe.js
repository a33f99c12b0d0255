// Letting a class through for a while, on the record, to see what its devices need.
import {h, heading, field, choice, notice, badge, link} from "./dom.js";
import {get, post} from "./api.js";
import {moment, span} from "./format.js";
import {onStatus} from "./health.js";
import {session} from "./session.js";

export const title = "Observe";

const lengths = [["10m0s", "10 minutes"], ["1h0m0s", "1 hour"], ["2h0m0s", "2 hours"], ["8h0m0s", "8 hours"], ["24h0m0s", "24 hours"]];

export async function show(main, _, signal) {
	const [policy, me] = await Promise.all([get("policy", {}, signal), session()]);
	if (signal.aborted) return;
	const running = h("div", {"aria-live": "polite"}), said = h("div", {});
	main.append(heading("Observe"),
		h("p", {}, "A class that is observed may reach what is not documented. Each attempt is recorded as let through. It ends by itself."),
		h("h2", {}, "Now"), running);
	onStatus((status) => tell(status.policy.observed ?? []), signal);

	function tell(list) {
		running.replaceChildren(list.length ? h("ul", {class: "blocked"}, list.map(item)) : h("p", {}, "No class is observed."));
	}
	function item(o) {
		const left = (new Date(o.until) - Date.now()) / 1000;
		return h("li", {},
			h("p", {}, badge("would-deny", "observed"), " ", h("strong", {}, o.class), " until ", moment(o.until), " (", span(left), " left)"),
			h("p", {class: "muted"}, o.reason, ", by " + o.by + " · ", link("What was let through", "log", {class: o.class, verdict: "would-deny", since: "24h"})),
			me.may_change && h("button", {type: "button", "aria-label": "End it: the observing of " + o.class, click: () => change({class: o.class, for: "0s"})}, "End it"));
	}
	async function change(body) {
		try {
			await post("observe", body);
			said.replaceChildren();
			tell((await get("status", {}, signal)).policy.observed ?? []);
		} catch (error) {
			if (!signal.aborted) said.replaceChildren(notice(error.message));
		}
	}

	main.append(h("h2", {}, "Begin"));
	if (!me.may_change) {
		main.append(notice(me.hint, "info"));
		return;
	}
	main.append(h("form", {class: "filters", "aria-label": "Begin to observe", async submit(event) {
		event.preventDefault();
		await change(Object.fromEntries(new FormData(event.target)));
	}},
	field("Class", choice("class", policy.classes.map((c) => [c.name, c.name]), policy.classes[0]?.name)),
	field("For", choice("for", lengths, "1h0m0s")),
	field("Reason", h("input", {name: "reason", required: true, maxlength: "200", placeholder: "ticket 4711", autocomplete: "off"}), "an auditor reads it"),
	h("button", {}, "Begin")), said);
}
