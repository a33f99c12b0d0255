// Building of the page. Whatever came over the wire goes in as text here, and nowhere
// else: there is no place in the console where text becomes markup.

// h makes an element. Properties that are functions listen to the event of that name,
// false and undefined are left out; children are nodes, text, lists of them or nothing.
export function h(tag, properties = {}, ...children) {
	const element = document.createElement(tag);
	for (const [name, value] of Object.entries(properties)) {
		if (typeof value === "function") element.addEventListener(name, value);
		else if (value !== undefined && value !== false) element.setAttribute(name, value === true ? "" : value);
	}
	element.append(...children.flat(2).filter((child) => child !== undefined && child !== null && child !== false));
	return element;
}

// link is a link to another view, with the filters in it.
export function link(text, view, filters = {}, properties = {}) {
	return h("a", {href: address(view, filters), ...properties}, text);
}

// address is the address of a view; filters that are empty are left out of it.
export function address(view, filters = {}) {
	const query = new URLSearchParams();
	for (const [name, value] of Object.entries(filters)) {
		if (value !== undefined && value !== "") query.append(name, value);
	}
	const text = query.toString();
	return "#/" + view + (text && "?" + text);
}

// heading is a view's own; app.js moves the focus to it, so that a screen reader reads it.
export function heading(text) {
	return h("h1", {tabindex: "-1"}, text);
}

// field is a form's control with its label above it.
export function field(label, control, hint) {
	const id = "field-" + control.name;
	control.id = id;
	const parts = [h("label", {for: id}, label), control];
	if (hint) {
		control.setAttribute("aria-describedby", id + "-hint");
		parts.push(h("small", {id: id + "-hint"}, hint));
	}
	return h("div", {class: "field"}, parts);
}

// choice is a list to choose from; options are [value, text].
export function choice(name, options, chosen = "") {
	const select = h("select", {name}, options.map(([value, text]) => h("option", {value}, text)));
	if (chosen !== "" && !options.some(([value]) => value === chosen)) {
		select.append(h("option", {value: chosen}, chosen)); // of a link that somebody wrote
	}
	select.value = chosen;
	return select;
}

// facts is a list of names with what there is to say of each; what is empty is left out.
export function facts(pairs) {
	return h("dl", {class: "facts"}, pairs
		.filter(([, value]) => value !== undefined && value !== null && value !== "")
		.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))));
}

// badge is a state or verdict: a word, and a colour for who sees it.
export function badge(kind, text = kind) {
	return h("span", {class: "badge " + kind}, text);
}

// notice is a sentence that must not be overlooked. Errors are told at once.
export function notice(text, kind = "bad") {
	return h("p", {class: "notice " + kind, role: kind === "bad" ? "alert" : "status"}, text);
}

// table is a table that scrolls by itself where a phone is too narrow for it; one can get
// to it by keyboard for that.
export function table(caption, columns, rows) {
	return h("div", {class: "scroll", tabindex: "0", role: "region", "aria-label": caption},
		h("table", {},
			h("caption", {}, caption),
			h("thead", {}, h("tr", {}, columns.map((name) => h("th", {scope: "col"}, name)))),
			h("tbody", {}, rows.map((cells) => h("tr", {}, cells.map((cell, i) =>
				i === 0 ? h("th", {scope: "row"}, cell) : h("td", {}, cell)))))));
}
