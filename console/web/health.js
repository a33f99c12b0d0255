// The state of the box beside its name on every view, and a word when it does not answer.
import {poll} from "./api.js";
import {h} from "./dom.js";
import {moment} from "./format.js";
import {states} from "./words.js";
import {forget} from "./session.js";

// askEvery is how often the box is asked, in milliseconds, while somebody looks. A stream
// of events does not tell that its box lost power: the connection just stays silent.
const askEvery = 10000;

const listeners = new Set();
let latest = null, look = () => {};

// onStatus calls f with each status that comes, and at once with the last one.
export function onStatus(f, signal) {
	listeners.add(f);
	signal.addEventListener("abort", () => listeners.delete(f));
	if (latest) f(latest);
}

// lookNow asks the box at once.
export function lookNow() {
	look();
}

// watchHealth asks on and on. The document gets an event "back" when the box answers after it
// did not; login is called when it wants to know who asks.
export function watchHealth(login) {
	const badge = document.getElementById("health"), lost = document.getElementById("lost"), about = document.getElementById("about");
	let timer, missing = false;
	look = async () => {
		clearTimeout(timer);
		if (document.hidden) return; // a page in the background costs the box nothing
		try {
			tell(await poll("status"));
			lost.hidden = true;
			if (missing) {
				missing = false;
				document.dispatchEvent(new Event("back"));
			}
		} catch (error) {
			if (error.status === 401) {
				badge.className = "badge";
				badge.textContent = "login";
				forget();
				login();
			} else if (!missing) {
				missing = true;
				badge.className = "badge bad";
				badge.textContent = "no answer";
				lost.replaceChildren("No answer from the box since ", moment(new Date().toISOString()),
					". What is shown is from before. This page keeps trying.");
				lost.hidden = false;
			}
		}
		clearTimeout(timer);
		timer = setTimeout(look, missing ? 2000 : askEvery);
	};
	function tell(status) {
		latest = status;
		const text = states[status.state] ?? status.state;
		if (badge.textContent !== text) { // a screen reader reads it again otherwise
			badge.className = "badge " + status.state;
			badge.textContent = text;
		}
		about.replaceChildren("tillgate " + status.version + ", up since ", moment(status.started), ", policy ",
			h("code", {}, status.policy.id));
		for (const f of listeners) f(status);
	}
	document.addEventListener("visibilitychange", look);
	look();
}
