// The log as it happens, with filters that are in the address.
import {h, heading, notice} from "./dom.js";
import {entry, who, target} from "./record.js";
import {number} from "./format.js";
import {get} from "./api.js";
import {follow} from "./live.js";
import {logForm, began} from "./filters.js";
import {reasons} from "./words.js";

export const title = "Log";
export const follows = true;

const kept = 500; // records in the list, and as many that wait while it is paused
const latest = 200; // to begin with
const sayEvery = 10000; // milliseconds between two words to a screen reader

export async function show(main, filters, signal) {
	const classes = await get("policy", {}, signal).then((policy) => policy.classes.map((c) => c.name), () => []);
	if (signal.aborted) return;
	const list = h("ol", {class: "records", "aria-label": "Records, the newest first"});
	const state = h("span", {class: "badge", role: "status"});
	const pause = h("button", {type: "button", "aria-pressed": "false", click: () => setPaused(!paused)}, "Pause");
	const empty = h("p", {class: "muted"});
	const missing = h("div", {});
	const spoken = h("p", {class: "unseen", "aria-live": "polite"});
	main.append(heading("Log"),
		logForm(filters, classes, start),
		h("div", {class: "tools"}, state, pause),
		missing, spoken, empty, list);

	let paused = false, waiting = [], frame = 0, stop = new AbortController();
	signal.addEventListener("abort", () => {
		stop.abort();
		cancelAnimationFrame(frame);
	});

	function setPaused(on) {
		paused = on;
		pause.setAttribute("aria-pressed", String(on));
		tell();
		if (!on) draw();
	}
	function tell() {
		pause.textContent = paused ? "Go on" + (waiting.length ? " (" + number(waiting.length) + (waiting.length === kept ? " or more" : "") + " new)" : "") : "Pause";
	}

	// Records are drawn together: thousands of the past come within a moment.
	function record(r) {
		waiting.push(r);
		if (waiting.length > kept) waiting.shift();
		if (r.verdict === "deny") denied(r);
		if (paused) tell();
		else frame ||= requestAnimationFrame(draw);
	}
	function draw() {
		frame = 0;
		if (paused) return;
		const entries = waiting.map(entry).reverse();
		waiting = [];
		list.prepend(...entries);
		while (list.children.length > kept) list.lastChild.remove();
		empty.hidden = list.children.length > 0;
	}

	// A screen reader hears of new denials, but not of each, and not of those before it came.
	let live = false, unsaid = 0, last, timer = 0, settled = 0;
	signal.addEventListener("abort", () => {
		clearTimeout(timer);
		clearTimeout(settled);
	});
	function pastHasCome() {
		live = true;
		empty.textContent = "Nothing yet that these filters choose. What comes will show here.";
	}
	function denied(r) {
		if (!live) return;
		unsaid++;
		last = r;
		timer ||= setTimeout(() => {
			timer = 0;
			spoken.textContent = (unsaid === 1 ? "Denied: " : unsaid + " new denials, the last: ") + who(last) + ", " + target(last) + ", " + (reasons[last.reason] ?? "");
			unsaid = 0;
		}, unsaid === 1 ? 1000 : sayEvery);
	}

	function start(chosen) {
		stop.abort();
		stop = new AbortController();
		live = false;
		clearTimeout(settled);
		waiting = [];
		list.replaceChildren();
		missing.replaceChildren();
		empty.hidden = false;
		const {since, ...query} = chosen;
		follow({...query, ...since ? {since: began(since)} : {last: latest}}, {
			record,
			gap: (r) => missing.replaceChildren(notice(r.detail, "warn")),
			damage: (text) => missing.replaceChildren(notice(text)),
			state(text) {
				clearTimeout(settled);
				state.textContent = text;
				state.className = "badge " + (text === "live" ? "ok" : text === "connecting" ? "warn" : "bad");
				empty.textContent = text === "live" ? "Reading…" : text === "connecting" ? "Connecting to the box…" : "";
				if (text === "live") settled = setTimeout(pastHasCome, 1000);
			},
		}, stop.signal);
	}
	start(Object.fromEntries(filters));
}
