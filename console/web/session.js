// Who looks at the page, and what he may do.
import {get, post} from "./api.js";

let known = null;

// session tells whether one must log in first (login), who is logged in (user), whether he
// may change anything (may_change), and if not what to do (hint).
export async function session() {
	return known ??= await get("session");
}

// forget has the box asked again: a session ends by itself after a while.
export function forget() {
	known = null;
}

export async function logIn(password) {
	await post("login", {password});
	forget();
}

export async function logOut() {
	await post("logout");
	forget();
}
