// The filters of the log and of a client's story, as a form and in the page's address.
import {h, field, choice, address} from "./dom.js";
import {planes} from "./words.js";

// spans are how far back one can look: [value, text, hours].
const spans = [["15m", "15 minutes", 0.25], ["1h", "1 hour", 1], ["4h", "4 hours", 4], ["24h", "24 hours", 24], ["168h", "7 days", 168]];

// sinceChoice is a list of spans; latest is what the choice of none is called.
export function sinceChoice(chosen, latest) {
	return choice("since", [...latest ? [["", latest]] : [], ...spans.map(([value, text]) => [value, text])], chosen);
}

// began returns when a span began, as the API has it. A time of a link is taken as it is.
export function began(span) {
	if (!span) return "";
	const known = spans.find(([value]) => value === span);
	const hours = known ? known[2] : /^\d+h$/.test(span) ? parseInt(span) : 0;
	return hours ? new Date(Date.now() - hours * 3600e3).toISOString() : span;
}

// logForm is the log's filters as a form, with the policy's classes to choose from; chosen is
// called with them when one was changed.
export function logForm(filters, classes, chosen) {
	const text = (name, hint) => h("input", {name, value: filters.get(name) ?? "", placeholder: hint, autocomplete: "off", autocapitalize: "off", spellcheck: "false"});
	const form = h("form", {class: "filters", "aria-label": "Filters", submit: (event) => { event.preventDefault(); changed(); }, change: changed},
		field("Show", choice("verdict", [["", "everything"], ["deny", "denied"], ["allow", "allowed"], ["would-deny", "let through by observe"]], filters.get("verdict") ?? "")),
		field("Client", text("client", "10.20.0.0/24")),
		field("Class", choice("class", [["", "all"], ...classes.map((name) => [name, name])], filters.get("class") ?? "")),
		field("Name", text("name", "*.example.com")),
		field("Plane", choice("plane", [["", "all"], ...Object.entries(planes)], filters.get("plane") ?? "")),
		field("Since", sinceChoice(filters.get("since") ?? "", "the latest 200")));
	function changed() {
		const now = Object.fromEntries([...new FormData(form)].map(([name, value]) => [name, value.trim()]));
		history.replaceState(null, "", address("log", now)); // no hashchange: the form keeps its focus
		chosen(now);
	}
	return form;
}
