// One look: is everything well, what is blocked now and by whom, the traffic of a day.
import {h, heading, badge, link, notice} from "./dom.js";
import {poll} from "./api.js";
import {moment, since, times, number} from "./format.js";
import {onStatus} from "./health.js";
import {parts, states, reasons, planes} from "./words.js";
import {charts} from "./chart.js";

export const title = "Overview";

const askEvery = 10000; // milliseconds

export async function show(main, _, signal) {
	const headline = heading("How is the box?");
	const troubles = h("ul", {class: "parts"});
	const well = h("ul", {class: "well"});
	// A phone has room for what is wrong; on a desk all is seen at once.
	const rest = h("details", {class: "card", open: matchMedia("(min-width: 44rem)").matches}, h("summary", {}), well);
	const blocked = h("div", {}), passed = h("div", {});
	const observed = h("section", {"aria-labelledby": "passed", hidden: true}, h("h2", {id: "passed"}, "Let through by observe in the last hour"),
		h("p", {class: "muted"}, "No rule allows it: with mode enforce it would be blocked."), passed);
	const traffic = h("div", {});
	main.append(headline,
		h("section", {"aria-label": "The parts of the box"}, troubles, rest),
		h("section", {"aria-labelledby": "blocked"}, h("h2", {id: "blocked"}, "Blocked in the last hour"), blocked),
		observed,
		h("section", {"aria-labelledby": "traffic"}, h("h2", {id: "traffic"}, "The last 24 hours"), traffic));
	onStatus((status) => {
		headline.textContent = verdict(status.parts);
		headline.className = status.state;
		const good = status.parts.filter((p) => p.state === "ok");
		troubles.replaceChildren(...["bad", "warn"].flatMap((state) => status.parts.filter((p) => p.state === state)).map(trouble));
		well.replaceChildren(...good.map(line));
		rest.firstChild.textContent = good.length + " parts are well";
	}, signal);

	const draw = charts(traffic, signal);
	let shown = "";
	async function look() {
		if (document.hidden) return;
		try {
			const now = await poll("overview", signal);
			// Drawn anew only when it is another, so that the focus stays where it is.
			const text = JSON.stringify([now.blocked, now.let_through]);
			if (text !== shown) {
				blocked.replaceChildren(...tried(now.blocked, now.more, "deny"), ...(now.damage ?? []).map((text) => notice(text)));
				passed.replaceChildren(...tried(now.let_through, now.more_let_through, "would-deny"));
				observed.hidden = !now.let_through.length;
			}
			shown = text;
			draw(now.traffic);
		} catch (error) {
			if (!signal.aborted && error.status) blocked.replaceChildren(notice(error.message));
			shown = "";
		}
	}
	const timer = setInterval(look, askEvery);
	document.addEventListener("visibilitychange", look, {signal});
	signal.addEventListener("abort", () => clearInterval(timer));
	await look();
}

// verdict is the whole in a sentence.
function verdict(list) {
	const named = (state) => list.filter((p) => p.state === state).map((p) => parts[p.name] ?? p.name);
	const bad = named("bad"), warn = named("warn");
	if (bad.length) return "Not well: " + bad.join(", ");
	if (warn.length) return "At work, with a warning: " + warn.join(", ");
	return "All is well";
}

function trouble(p) {
	return h("li", {class: "part " + p.state},
		h("h2", {}, parts[p.name] ?? p.name, " ", badge(p.state, states[p.state])),
		h("p", {}, p.text ?? ""),
		h("p", {class: "muted"}, "since ", moment(p.since), " (" + since(p.since) + ")"));
}

function line(p) {
	return h("li", {}, h("strong", {}, parts[p.name] ?? p.name), " ", badge(p.state, states[p.state]), " ",
		h("span", {}, p.text ?? ""), " ", h("span", {class: "muted"}, "since ", moment(p.since)));
}

// tried tells who wanted what, the ways in which one device tried the same together: it asks
// for the name, and then goes there.
function tried(groups, more, verdict) {
	if (!groups.length) return [h("p", {}, "Nothing. No device was denied anything.")];
	const together = new Map();
	for (const g of groups) {
		const key = [g.client, g.name || g.dest].join(" ");
		together.set(key, [...together.get(key) ?? [], g]);
	}
	const list = h("ul", {class: "blocked " + verdict}, [...together.values()].map((same) => h("li", {}, attempt(same))));
	return [list, more > 0 && h("p", {class: "muted"}, "And " + number(more) + " more. ", link("See the log", "log", {verdict, since: "1h"}))].filter(Boolean);
}

// address is a destination without its port.
function address(dest = "") {
	return dest.replace(/:\d+$/, "").replace(/^\[|\]$/g, "");
}

function attempt(same) {
	// What says most: a connection says more than the question before it.
	const g = same.find((one) => one.port) ?? same[0];
	const name = g.name || address(g.dest);
	const ports = [...new Set(same.map((one) => one.port).filter(Boolean))];
	const count = Math.max(...same.map((one) => one.count));
	const latest = same.map((one) => one.last).sort().at(-1);
	return [
		h("p", {},
			link(g.client || "unknown", "client", {client: g.client, since: "1h"}), g.class ? " (" + g.class + ")" : "", ": ",
			h("strong", {}, name + (ports.length ? ":" + ports.join(", ") : "")), " — ", needs(g)),
		h("p", {class: "muted"}, times(count), ", last at ", moment(latest), ", by ",
			[...new Set(same.map((one) => planes[one.plane] ?? one.plane))].join(", "), " · ",
			link("Why?", "explain", {client: g.client, name, port: g.port}, {"aria-label": "Why " + name + "?"}), " · ",
			link("Log", "log", {client: g.client, name: g.name}, {"aria-label": "Log of " + name})),
	];
}

// needs is why something is denied, and where the document has it.
function needs(g) {
	const text = reasons[g.reason] ?? g.reason;
	const where = g.row ? "row " + g.row + " of the document, " + g.service : g.service;
	if (g.reason === "other-class") return "it is in " + where + ", which class " + g.class + " does not have";
	return text + (where ? " (" + where + ")" : "");
}
