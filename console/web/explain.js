// Why a device may or may not reach a name.
import {h, heading, field, facts, address, badge, link, notice} from "./dom.js";
import {get, getLines} from "./api.js";
import {entry} from "./record.js";
import {moment} from "./format.js";
import {verdicts, service} from "./words.js";
import {began} from "./filters.js";

export const title = "Explain";

export async function show(main, filters, signal) {
	const value = (name) => filters.get(name) ?? "";
	const plain = {autocomplete: "off", autocapitalize: "off", spellcheck: "false"};
	const form = h("form", {class: "filters", "aria-label": "Question", submit(event) {
		event.preventDefault();
		const asked = Object.fromEntries([...new FormData(form)].map(([name, text]) => [name, text.trim()]));
		const now = address("explain", {...asked, ...split(asked.name, asked.port)});
		if (now === location.hash) answer();
		else location.hash = now;
	}},
	field("Client", h("input", {name: "client", value: value("client"), required: true, placeholder: "10.20.0.14", ...plain})),
	field("Name", h("input", {name: "name", value: value("name"), required: true, placeholder: "api.example.com", ...plain})),
	field("Port", h("input", {name: "port", value: value("port"), inputmode: "numeric", pattern: "[0-9]*", placeholder: "443", ...plain}), "none: does the name resolve?"),
	h("button", {}, "Explain"));
	const result = h("div", {"aria-live": "polite"});
	main.append(heading("Explain"), h("p", {class: "muted"}, "May this device reach this name, and why?"), form, result);

	async function answer() {
		try {
			const e = await get("explain", {client: value("client"), name: value("name"), ...ask(value("port"))}, signal);
			result.replaceChildren(explained(e));
			const last = await attempts(e, signal);
			if (last.length) result.append(h("h2", {}, "What it tried in the last hour"), h("ol", {class: "records"}, last.map(entry)));
		} catch (error) {
			if (!signal.aborted) result.replaceChildren(notice(error.message));
		}
	}
	if (value("client") && value("name")) await answer();
}

// split takes NAME:PORT apart, as the command line does.
function split(name, port) {
	const found = /^([^:]+):(\d+)$/.exec(name);
	return found && !port ? {name: found[1], port: found[2]} : {name, port};
}

// ask is the plane that a question about a port is about.
function ask(port) {
	switch (port) {
	case "": return {};
	case "80": return {port, plane: "http"};
	case "123": return {port, plane: "ntp", proto: "udp"};
	}
	return {port};
}

function explained(e) {
	const what = e.port ? "reach " + e.name + " on port " + e.port : "resolve " + e.name;
	const may = e.verdict === "deny" ? " may not " : " may ";
	return h("section", {class: "card " + e.verdict},
		h("h2", {}, badge(e.verdict, verdicts[e.verdict]), " " + e.client + (e.class ? " (" + e.class + ")" : "") + may + what),
		facts([
			["Why", e.text + " (" + e.reason + ")"],
			["Mode", e.mode],
			["Rule", e.rule && rule(e.rule)],
			["On ports", e.ports?.join(", ")],
			["Allowed for", e.classes?.join(", ")],
			["Nearest", e.nearest && h("ul", {}, e.nearest.map((m) => h("li", {}, rule(m))))],
			["Known", e.suggestion && e.suggestion.host + " goes with " + e.suggestion.near + ": " + e.suggestion.why],
			["By interface", e.interfaces?.map((c) => c.class + ": " + c.interfaces.join(", ")).join("; ")],
			["Policy", h("code", {}, e.policy)],
		]),
		h("p", {class: "ways"}, link("Story of " + e.client, "client", {client: e.client, since: "1h"}), link("Log of this name", "log", {name: e.name})));
}

function rule(m) {
	const text = [(m.host ?? m.network) + (m.ports ? " " + m.ports.join(", ") : ""), service(m), m.title, m.requirement, m.why];
	return [text.filter(Boolean).join(", "), m.until && [", until ", moment(m.until)], " ", h("code", {}, m.at)].flat();
}

// attempts are the client's latest on the name.
async function attempts(e, signal) {
	const last = [];
	for await (const record of getLines("log", {client: e.client, name: e.name, since: began("1h")}, signal)) {
		if (!record.error) last.push(record);
		if (last.length > 5) last.shift();
	}
	return last.reverse();
}
