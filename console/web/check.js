// The document's own port test, at a button: every destination, as the results come in.
import {h, heading, field, choice, badge, notice, table} from "./dom.js";
import {get, postLines} from "./api.js";
import {target} from "./record.js";

export const title = "Check";

export async function show(main, filters, signal) {
	const policy = await get("policy", {}, signal);
	if (signal.aborted) return;
	const button = h("button", {}, "Check now");
	const form = h("form", {class: "filters", "aria-label": "What to check", submit: (event) => { event.preventDefault(); run(); }},
		field("For", choice("class", [["", "everything documented"], ...policy.classes.map((c) => [c.name, "class " + c.name])], filters.get("class") ?? "")),
		button);
	const told = h("div", {role: "status"}), results = h("div", {});
	main.append(heading("Check"),
		h("p", {class: "muted"}, "From the box itself: is every documented name resolved, reached, and who it says it is? It takes up to a minute."),
		form, told, results);

	async function run() {
		button.disabled = true;
		const body = h("tbody", {});
		results.replaceChildren(h("div", {class: "scroll", tabindex: "0", role: "region", "aria-label": "Results"},
			h("table", {}, h("caption", {}, "Results, as they come in"), h("thead", {}, h("tr", {},
				["Destination", "Result", "Took", "What to do"].map((name) => h("th", {scope: "col"}, name)))), body)));
		told.replaceChildren(h("p", {}, "Under way…"));
		let verdict, done = 0, all = 0;
		try {
			for await (const line of postLines("check", Object.fromEntries(new FormData(form)), signal)) {
				if (line.error) throw new Error(line.error);
				all = line.plan?.targets?.length ?? all;
				verdict = line.verdict ?? verdict;
				if (!line.result) continue;
				done++;
				told.replaceChildren(h("p", {}, done + " of " + all));
				// What failed is what one looks for: it stands first.
				if (line.result.ok || line.result.skip) body.append(row(line.result));
				else body.prepend(row(line.result));
			}
			told.replaceChildren(verdict ? judged(verdict) : notice("The check ended without a verdict: the connection was lost. Try again."));
		} catch (error) {
			if (!signal.aborted) told.replaceChildren(notice(error.message));
		}
		button.disabled = false;
	}
}

function row(r) {
	const kind = r.ok ? "allow" : r.skip ? "plain" : "deny";
	const took = ["resolve_ms", "connect_ms", "answer_ms"].reduce((all, name) => all + (r[name] ?? 0), 0);
	return h("tr", {},
		h("th", {scope: "row"}, target({name: r.host, port: r.port, client: "-"}), h("div", {class: "muted"}, r.row ? "row " + r.row + ", " + r.requirement : r.service)),
		h("td", {}, badge(kind, r.ok ? "good" : r.skip ? "not tried" : r.fault), h("div", {class: "muted"}, r.skip || r.detail || r.issuer || "")),
		h("td", {}, took ? Math.round(took) + " ms" : ""),
		h("td", {}, r.do ?? ""));
}

function judged(v) {
	return h("section", {class: "card " + (v.ok ? "ok" : "bad")},
		h("h2", {}, v.headline), v.do && h("p", {}, v.do),
		(v.advice ?? []).filter((a) => a.do !== v.do).map((a) => h("p", {}, h("strong", {}, a.text), " (" + some(a.for ?? []) + "): " + a.do)),
		v.troubles && h("ul", {}, v.troubles.map((text) => h("li", {}, text))),
		table("By row of the document", ["Row", "Reached", "Requirement"], v.rows.map((r) => [
			(r.row ? r.row + " " : "") + (r.title || r.service), r.good + " of " + r.tried, r.requirement])));
}

// some names the first of several.
function some(names) {
	const first = names.slice(0, 3).join(", ");
	return names.length > 3 ? first + " and " + (names.length - 3) + " more" : first;
}
