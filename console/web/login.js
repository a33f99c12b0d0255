// The way in, where a password is set.
import {h, heading, field, notice} from "./dom.js";
import {logIn} from "./session.js";

export const title = "Log in";

export function show(main, filters) {
	const said = h("div", {});
	const password = h("input", {name: "password", type: "password", required: true, autocomplete: "current-password"});
	const button = h("button", {}, "Log in");
	main.append(heading("Log in"), h("form", {class: "filters", async submit(event) {
		event.preventDefault();
		button.disabled = true;
		try {
			await logIn(password.value);
			const next = filters.get("next") ?? "";
			location.hash = next.startsWith("#/") ? next : "#/";
		} catch (error) {
			said.replaceChildren(notice(error.message));
			password.select();
		}
		button.disabled = false;
	}},
	// A password manager wants a name beside the password.
	h("input", {type: "text", name: "username", value: "console", autocomplete: "username", hidden: true}),
	field("Password", password, "set on the box: tillgate console passwd"), button), said);
	password.focus();
}
