// Times and numbers for people. Moments are shown in local time, with UTC in the title:
// the records and the command line of a box abroad may be in another zone.
import {h} from "./dom.js";

const clock = new Intl.DateTimeFormat(undefined, {hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23"});
const date = new Intl.DateTimeFormat(undefined, {day: "numeric", month: "short"});
const longAgo = new Intl.DateTimeFormat(undefined, {day: "numeric", month: "short", year: "numeric"});

// moment is a point in time, with its day when that is not today.
export function moment(text, mark = "") {
	if (!text) return null;
	const at = new Date(text);
	const now = new Date();
	const today = at.toDateString() === now.toDateString();
	const day = (at.getFullYear() === now.getFullYear() ? date : longAgo).format(at);
	return h("time", {datetime: text, title: at.toISOString().replace("T", " ").replace("Z", " UTC")},
		(today ? "" : day + ", ") + clock.format(at) + mark);
}

// span is a length of time in its largest unit and the next.
export function span(seconds) {
	const s = Math.max(0, Math.floor(seconds));
	if (s < 60) return s + " s";
	if (s < 3600) return Math.floor(s / 60) + " min";
	if (s < 86400) return Math.floor(s / 3600) + " h " + Math.floor(s % 3600 / 60) + " min";
	return Math.floor(s / 86400) + " d " + Math.floor(s % 86400 / 3600) + " h";
}

// since is how long ago a moment was.
export function since(text) {
	return span((Date.now() - new Date(text)) / 1000);
}

// size is a number of bytes.
export function size(bytes = 0) {
	const units = ["B", "kB", "MB", "GB", "TB"];
	let i = 0;
	for (; bytes >= 999.5 && i < units.length - 1; i++) bytes /= 1000;
	return (i === 0 || bytes >= 100 ? Math.round(bytes) : bytes.toFixed(1)) + " " + units[i];
}

const plain = new Intl.NumberFormat();

// number is a count.
export function number(n = 0) {
	return plain.format(n);
}

// times is how often something was, in words.
export function times(n) {
	return n === 1 ? "once" : n === 2 ? "twice" : number(n) + " times";
}

// sum adds numbers up.
export function sum(list = []) {
	return list.reduce((a, b) => a + b, 0);
}
