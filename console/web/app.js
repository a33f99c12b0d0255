// The console: it chooses the view that the address names. Views are modules with show(),
// which fills main and stops when its signal aborts. Addresses are of the form
// #/view?filter=value, so that what one sees can be sent to somebody else.
import {h, notice} from "./dom.js";
import {watchHealth, lookNow} from "./health.js";
import {session, logOut} from "./session.js";
import * as overview from "./overview.js";
import * as log from "./log.js";
import * as client from "./client.js";
import * as explain from "./explain.js";
import * as check from "./check.js";
import * as policy from "./policy.js";
import * as changes from "./changes.js";
import * as observe from "./observe.js";
import * as login from "./login.js";

const views = {"": overview, log, client, explain, check, policy, changes, observe, login};

const main = document.getElementById("main");
let leave = new AbortController();

// route is the view that an address names, and its filters.
function route() {
	const [, name, query] = /^#\/([a-z]*)(?:\?(.*))?$/.exec(location.hash) ?? [null, "", ""];
	return [name, new URLSearchParams(query)];
}

async function show(byUser) {
	leave.abort();
	leave = new AbortController();
	const {signal} = leave;
	const [name, filters] = route();
	const view = Object.hasOwn(views, name) ? views[name] : null; // it has others by birth
	main.replaceChildren();
	for (const a of document.querySelectorAll("nav a")) {
		if (a.getAttribute("href") === "#/" + name) a.setAttribute("aria-current", "page");
		else a.removeAttribute("aria-current");
	}
	document.title = (view?.title ?? "Not found") + " – tillgate";
	if (!view) {
		main.append(h("h1", {tabindex: "-1"}, "Not found"), h("p", {}, "There is no such view. The ones above are all that there are."));
		return;
	}
	try {
		const me = await session();
		document.getElementById("logout").hidden = !me.user;
		if (signal.aborted) return;
		if (me.login && view !== login) {
			toLogin();
			return;
		}
		await view.show(main, filters, signal);
	} catch (error) {
		if (signal.aborted) return;
		if (error.status === 401) toLogin();
		else main.append(notice(error.message));
	}
	if (byUser && !signal.aborted) main.querySelector("h1")?.focus();
}

// toLogin remembers where one wanted to go.
function toLogin() {
	const [name] = route();
	if (name !== "login") location.replace("#/login?next=" + encodeURIComponent(location.hash));
}

addEventListener("hashchange", () => {
	show(true);
	lookNow(); // what one turns to is what is so now
});
// The link at the top of the page is about this one, and no view.
document.querySelector(".skip").addEventListener("click", (event) => {
	event.preventDefault();
	main.focus();
});
document.getElementById("logout").addEventListener("click", async () => {
	await logOut();
	location.hash = "#/login";
});
// What was asked for before the box was gone is stale, but in a view that follows it: there
// one may have opened something.
document.addEventListener("back", () => views[route()[0]]?.follows || show(false));
watchHealth(toLogin);
show(false);
